/** The settings of every peer, which the runner passes in the environment. */
export const settings = {
  databaseUrl: needed('DATABASE_URL'),
  /** The key of 32 bytes that encrypts tokens and hashes credentials. */
  key: Buffer.from(needed('SEAL_KEY'), 'base64'),
  /** The data key to which the table's foreign key refers. */
  dataKeyId: needed('DATA_KEY_ID'),
};

/** The size of the connection pool, the same as the product's. */
export const poolSize = 10;

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start this through run.ts`);
  return value;
}
