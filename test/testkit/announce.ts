import { testDatabaseUrl } from './database.ts';

/** Says which database a run is about. */
export default function announce(): void {
  console.log(`Database: ${testDatabaseUrl ? 'PostgreSQL of TEST_DATABASE_URL' : 'embedded'}`);
}
