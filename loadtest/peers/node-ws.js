'use strict';
// The gateway one would write in Node: `ws` for the browsers, `ioredis` for the updates. It is the baseline of
// `compare.sh` and speaks the part of tickcast's protocol that the load test uses: subscribe, unsubscribe, updates.
//
// It does what a good ordinary server does and no more: a set of sockets per symbol, one send per subscriber and
// update, the published text forwarded as it is. It forgets nothing and bounds nothing: a slow reader's updates queue
// in its memory.
//
// Environment: PORT (8081), REDIS_URL (redis://127.0.0.1:6379), CHANNEL (market-data:updates).
const http = require('node:http');
const { WebSocketServer, WebSocket } = require('ws');
const Redis = require('ioredis');

const PORT = Number(process.env.PORT || 8081);
const CHANNEL = process.env.CHANNEL || 'market-data:updates';
const PING_INTERVAL_MS = 25_000;
const MAX_MESSAGE_BYTES = 65_536;
const LISTEN_BACKLOG = 4_096;
const TEXT = { binary: false };

const watchers = new Map(); // symbol -> Set<WebSocket>

const server = http.createServer((request, response) => {
  response.writeHead(request.url === '/health' ? 200 : 404, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ status: 'healthy', connections: sockets.clients.size }));
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES });

sockets.on('connection', (socket) => {
  socket.symbols = new Set();
  socket.isAlive = true;
  socket.on('pong', () => { socket.isAlive = true; });
  socket.on('message', (text) => answer(socket, text));
  socket.on('close', () => { for (const symbol of socket.symbols) unwatch(socket, symbol); });
  socket.on('error', () => {}); // 'close' follows
});

function answer(socket, text) {
  let request;
  try { request = JSON.parse(text); } catch { return; }
  if (!Array.isArray(request.symbols)) return;
  if (request.action === 'subscribe') {
    for (const symbol of request.symbols) watch(socket, symbol);
    reply(socket, { type: 'subscribed', symbols: request.symbols, active: socket.symbols.size });
  } else if (request.action === 'unsubscribe') {
    for (const symbol of request.symbols) { socket.symbols.delete(symbol); unwatch(socket, symbol); }
    reply(socket, { type: 'unsubscribed', symbols: request.symbols, active: socket.symbols.size });
  }
}

function reply(socket, message) {
  socket.send(JSON.stringify({ ...message, timestamp: new Date().toISOString() }), TEXT);
}

function watch(socket, symbol) {
  let set = watchers.get(symbol);
  if (!set) watchers.set(symbol, set = new Set());
  set.add(socket);
  socket.symbols.add(symbol);
}

function unwatch(socket, symbol) {
  const set = watchers.get(symbol);
  if (set) { set.delete(socket); if (set.size === 0) watchers.delete(symbol); }
}

function fanOut(symbol, text) {
  const set = watchers.get(symbol);
  if (!set) return;
  for (const socket of set) if (socket.readyState === WebSocket.OPEN) socket.send(text, TEXT);
}

const redis = new Redis(process.env.REDIS_URL || 'redis://127.0.0.1:6379');
redis.subscribe(CHANNEL).catch((error) => { console.error('subscribe:', error.message); process.exit(1); });
redis.on('message', (channel, text) => {
  let message;
  try { message = JSON.parse(text); } catch { return; }
  if (Array.isArray(message)) {
    for (const update of message) fanOut(update.symbol, JSON.stringify(update));
  } else if (message.symbol !== undefined) {
    fanOut(message.symbol, text);
  }
});
redis.on('error', (error) => console.error('redis:', error.message));

setInterval(() => {
  for (const socket of sockets.clients) {
    if (!socket.isAlive) { socket.terminate(); continue; }
    socket.isAlive = false;
    socket.ping();
  }
}, PING_INTERVAL_MS).unref();

process.on('SIGTERM', () => process.exit(0));
server.listen(PORT, '127.0.0.1', LISTEN_BACKLOG, () => console.error(`listening on 127.0.0.1:${PORT}`));
