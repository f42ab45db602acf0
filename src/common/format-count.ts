/** Formats a number of things, such as "1 event" and "2 events". */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
