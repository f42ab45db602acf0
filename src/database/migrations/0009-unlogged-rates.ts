import { Migration } from '@mikro-orm/migrations';

/** What is counted for a minute need not survive a crash, and so its commits need not wait for the disk. */
export class UnloggedRates extends Migration {
  override up(): void {
    this.addSql(`alter table "rate_limit" set unlogged`);
  }
}
