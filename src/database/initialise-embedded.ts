/** Entry point of a child process: creates an empty embedded database in the folder of its first argument. */
import { PGlite } from '@electric-sql/pglite';

const database = await PGlite.create({ dataDir: process.argv[2] });
await database.close();
