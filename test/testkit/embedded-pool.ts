import { readFile } from 'node:fs/promises';
import { PGlite, type PGliteOptions } from '@electric-sql/pglite';
import { takeSnapshot } from './embedded-snapshot.ts';
import { archiveOf, migratedEmbedded } from './template-environment.ts';

/** A running PostgreSQL that no server uses, in the state in which it was after its start. */
interface Idle {
  database: PGlite;
  /** Undoes all that its last server has done, if that is possible. */
  restore: () => boolean;
  /** How many libraries it had loaded when its state was copied. */
  libraries: number;
}

const idle: Idle[] = [];

/** Some files start three servers at a time. Each holds 60 MB. */
const maxIdle = 3;

/**
 * Reads the archive of the database with all migrations. A database that starts with this function takes the PostgreSQL of a closed
 * one, in the state in which it was after its own start: that takes a twentieth of the processor time of a start.
 */
export async function readMigrated(): Promise<ArrayBuffer> {
  return (await readFile(archiveOf(process.env[migratedEmbedded] ?? ''))).buffer;
}

// MikroORM starts PGlite with this function. It takes a running PGlite too, but would not use the methods that `openEmbedded` replaces.
const create = PGlite.create.bind(PGlite) as (options: PGliteOptions) => Promise<PGlite>;
PGlite.create = (async (options: PGliteOptions) => {
  if (options.loadDataDir?.arrayBuffer !== readMigrated) return create(options);
  return lend(idle.pop() ?? (await start(options)));
}) as typeof PGlite.create;

async function start(options: PGliteOptions): Promise<Idle> {
  const database = await create(options);
  // Otherwise the first trigger loads this library, and Emscripten does not load it again after its memory is restored.
  await database.exec("load 'plpgsql'");
  const libraries = await countLibraries(database);
  return { database, restore: takeSnapshot(database), libraries };
}

async function countLibraries(database: PGlite): Promise<number> {
  const { rows } = await database.query('select from pg_get_loaded_modules()');
  return rows.length;
}

function lend(taken: Idle): PGlite {
  const { database, libraries } = taken;
  const properties = new Set(Object.keys(database));
  let isLent = true;
  database.close = async () => {
    if (!isLent) return;
    isLent = false;
    // The server has replaced methods.
    for (const name of Object.keys(database))
      if (!properties.has(name)) Reflect.deleteProperty(database, name);
    // Restored at once: a timer of PostgreSQL that a test with another clock has left would fire until then.
    const isReusable =
      idle.length < maxIdle &&
      (await countLibraries(database).catch(() => 0)) === libraries &&
      taken.restore();
    if (isReusable) idle.push(taken);
    else await database.close();
  };
  return database;
}
