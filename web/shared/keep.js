// What a page remembers: for good in localStorage, for a tab in sessionStorage.
//
// Both throw where the visitor forbids them; then nothing is remembered, and nothing fails.

function keeper(storage) {
  const use = (act) => {
    try {
      return act(storage()) ?? undefined;
    } catch {
      return undefined;
    }
  };
  return {
    get: (key) => use((kept) => kept.getItem(key)),
    set: (key, value) => use((kept) => kept.setItem(key, value)),
    remove: (key) => use((kept) => kept.removeItem(key)),
  };
}

export const forGood = keeper(() => localStorage);
export const forTab = keeper(() => sessionStorage);
