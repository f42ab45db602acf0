// Environment variables that tell the workers of a run what `prepare.ts` has made for all of them.

/** The archive of an embedded database with all migrations applied. */
export const templateFile = 'TEST_EMBEDDED_TEMPLATE';
/** The folder of such a database. */
export const templateFolder = 'TEST_EMBEDDED_FOLDER';
/** The name of a database on PostgreSQL with all migrations applied. */
export const templateDatabase = 'TEST_POSTGRESQL_TEMPLATE';
/** Where the dashboard is, once a test has built it. */
export const dashboardFolder = 'TEST_DASHBOARD_FOLDER';
