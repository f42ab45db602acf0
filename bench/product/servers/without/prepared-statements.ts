import type { createStatementPreparer as original } from '../../../../src/database/driver/prepared-statements.ts';

/** Prepares no statement. */
export const createStatementPreparer: typeof original = () => (text, values) => ({ text, values });
