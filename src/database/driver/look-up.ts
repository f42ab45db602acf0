import dns from 'node:dns';

/** Looks up the addresses of a host of PostgreSQL, as the operating system does for pg. */
export async function lookUpAddresses(name: string): Promise<string[]> {
  const found = await dns.promises.lookup(name, { all: true });
  return found.map(({ address }) => address);
}
