/** What every server of a peer is given by the runner. */
export const settings = {
  databaseUrl: needed('DATABASE_URL'),
  /** 32 bytes, under which tokens are sealed and credentials hashed. */
  key: Buffer.from(needed('SEAL_KEY'), 'base64'),
  /** The row that the table's foreign key wants to be referred to. */
  dataKeyId: needed('DATA_KEY_ID'),
};

/** As many connections to PostgreSQL as the product has. */
export const poolSize = 10;

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start this through run.ts`);
  return value;
}
