// Environment variables that tell the workers of a run what `prepare.ts` has made for all of them.

/** The folder of an embedded database without tables. */
export const emptyEmbedded = 'TEST_EMBEDDED_EMPTY';
/** The folder of an embedded database with all migrations applied. */
export const migratedEmbedded = 'TEST_EMBEDDED_MIGRATED';
/** The archive of the embedded database in a folder. */
export const archiveOf = (folder: string) => `${folder}.tar`;
/** The name of a database on PostgreSQL with all migrations applied. */
export const templateDatabase = 'TEST_POSTGRESQL_TEMPLATE';
/** Where the dashboard is, once a test has built it. */
export const dashboardFolder = 'TEST_DASHBOARD_FOLDER';
/** The command of the server, bundled for this run. */
export const serverCommand = 'TEST_SERVER_COMMAND';
