// Listeners by event. One that throws harms neither the others nor the client.
//
// Bounded by what the user registers.

/** Calls user code; what it throws goes to `failed`. */
export function isolated<A>(callback: (argument: A) => void, argument: A, failed: (error: unknown) => void): void {
  try {
    // An async callback's rejection is its author's bug too, and would end a Node process.
    Promise.resolve(callback(argument) as unknown).catch(failed);
  } catch (error) {
    failed(error);
  }
}

export class Events<Map extends object> {
  readonly #listeners: { [E in keyof Map]?: Set<{ call: (payload: Map[E]) => void }> } = {};

  on<E extends keyof Map>(event: E, call: (payload: Map[E]) => void): () => void {
    const listener = { call };
    const listeners = (this.#listeners[event] ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Calls the listeners of `event`; what they throw goes to `failed`. */
  emit<E extends keyof Map>(event: E, payload: Map[E], failed: (error: unknown) => void): void {
    for (const { call } of [...(this.#listeners[event] ?? [])]) isolated(call, payload, failed);
  }
}
