/** Entry point of a child process: creates an empty embedded database in the folder of its first argument. */
import { PGlite } from '@electric-sql/pglite';

try {
  const database = await PGlite.create({ dataDir: process.argv[2] });
  await database.close();
} catch (error) {
  // The error number of WASI, if the file system has failed.
  process.exit(Number(Object(error).errno) || 1);
}
