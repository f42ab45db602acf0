import { createHash } from 'node:crypto';

/**
 * Returns the name of the schema with the tables of the job queue, which the migration 0028 creates: `public_jobs` for
 * tables in `public`. pg-boss takes only plain and short names.
 *
 * @param schema the schema of the other tables
 */
export function jobSchema(schema: string): string {
  return /^[a-z_][a-z0-9_]{0,44}$/.test(schema)
    ? `${schema}_jobs`
    : `jobs_${createHash('md5').update(schema).digest('hex')}`;
}
