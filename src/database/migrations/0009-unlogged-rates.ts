import { Migration } from '@mikro-orm/migrations';

/** Makes rate limits unlogged: windows of a minute may be lost in a crash, so that commits do not wait for the disk. */
export class UnloggedRates extends Migration {
  override up(): void {
    this.addSql(`alter table "rate_limit" set unlogged`);
  }
}
