// Tokens as an application's server makes them: HS256 (RFC 7515, 7519).

import { createHmac } from "node:crypto";

export const JWT_SECRET = "a secret of more than thirty-two bytes, for tests";

const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");

/** One that is good for `seconds` from now. */
export function jwt(seconds, claims = {}) {
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: "test", exp: Date.now() / 1000 + seconds, ...claims })}`;
  return `${text}.${createHmac("sha256", JWT_SECRET).update(text).digest("base64url")}`;
}
