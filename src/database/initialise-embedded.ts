/** A process of its own: makes an empty embedded database in the folder that it is given. */
import { PGlite } from '@electric-sql/pglite';

const database = await PGlite.create({ dataDir: process.argv[2] });
await database.close();
