-- Subtracts what has run out.
--
-- Returns {more, unsent events, gateways whose lease holds}.

return { sweep(), unsent, live }
