/** Returns the names of the members of a record. `Object.keys` returns strings, because an object can have more than its type says. */
export function typedKeys<T extends object>(record: T): (keyof T & string)[] {
  return Object.keys(record) as (keyof T & string)[];
}
