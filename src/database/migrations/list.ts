import type { Migration } from '@mikro-orm/migrations';
import { Start } from './0001-start.ts';
import { Life } from './0002-life.ts';
import { Find } from './0003-find.ts';
import { Audit } from './0004-audit.ts';
import { Access } from './0005-access.ts';
import { Rotation } from './0006-rotation.ts';
import { RateLimits } from './0007-rate-limits.ts';
import { Administrators } from './0008-administrators.ts';
import { UnloggedRates } from './0009-unlogged-rates.ts';
import { RowMacs } from './0010-row-macs.ts';
import { Fairness } from './0011-fairness.ts';
import { Refusals } from './0017-refusals.ts';
import { KeyLists } from './0018-key-lists.ts';
import { UsePolicy } from './0019-use-policy.ts';
import { KeyConnections } from './0020-key-connections.ts';
import { RateBudgets } from './0021-rate-budgets.ts';
import { Usage } from './0022-usage.ts';
import { ServiceApps } from './0023-service-apps.ts';
import { VerificationDetails } from './0024-verification-details.ts';
import { SetupLinks } from './0025-setup-links.ts';
import { Jobs } from './0028-jobs.ts';
import { Checks } from './0029-checks.ts';
import { Conversions } from './0031-conversions.ts';
import { Revocations } from './0034-revocations.ts';
import { KeyRotation } from './0035-key-rotation.ts';
import { StatusHistory } from './0037-status-history.ts';
import { HealthOrders } from './0038-health-orders.ts';
import { Webhooks } from './0039-webhooks.ts';
import { SetupLinkCreators } from './0042-setup-link-creators.ts';
import { KeyRegistrationFailures } from './0043-key-registration-failures.ts';
import { ExpiryForecasts } from './0045-expiry-forecasts.ts';
import { UsageLabels } from './0047-usage-labels.ts';
import { ConnectionAnnotations } from './0048-annotations.ts';
import { OwnerNotifications } from './0052-owner-notifications.ts';
import { OrganisationStatus } from './0053-organisation-status.ts';
import { HostCertificates } from './0055-host-certificates.ts';
import { MailCounts } from './0056-mail-counts.ts';
import { ConnectionsOfOrganisations } from './0058-connections-of-organisations.ts';
import { KeyRemovals } from './0060-key-removals.ts';
import { MailOptOuts } from './0062-mail-opt-outs.ts';
import { AuditRetention } from './0063-audit-retention.ts';
import { AuditStream } from './0065-audit-stream.ts';
import { Capacity } from './0066-capacity.ts';
import { CheckDelays } from './0069-check-delays.ts';
import { UnfinishedImports } from './0070-unfinished-imports.ts';
import { LastGoodOrder } from './0072-last-good-order.ts';
import { AuditStreamTarget } from './0073-audit-stream-target.ts';

/** A migration of this server. */
interface ServerMigration {
  name: string;
  class: new (...args: ConstructorParameters<typeof Migration>) => Migration;
  /**
   * The oldest release whose servers also work on a database with this migration, while servers are upgraded one after the other: the one
   * before the release that has the migration, if it only expands what that one uses. Absent: older servers do not start.
   */
  oldestServer?: string;
}

/** Every migration, in the order in which they run. A migration that has been released is never edited. */
export const migrations: ServerMigration[] = [
  { name: '0001-start', class: Start },
  { name: '0002-life', class: Life },
  { name: '0003-find', class: Find },
  { name: '0004-audit', class: Audit },
  { name: '0005-access', class: Access },
  { name: '0006-rotation', class: Rotation },
  { name: '0007-rate-limits', class: RateLimits },
  { name: '0008-administrators', class: Administrators },
  { name: '0009-unlogged-rates', class: UnloggedRates },
  { name: '0010-row-macs', class: RowMacs },
  { name: '0011-fairness', class: Fairness },
  { name: '0017-refusals', class: Refusals },
  { name: '0018-key-lists', class: KeyLists },
  { name: '0019-use-policy', class: UsePolicy },
  { name: '0020-key-connections', class: KeyConnections },
  { name: '0021-rate-budgets', class: RateBudgets },
  { name: '0022-usage', class: Usage },
  { name: '0023-service-apps', class: ServiceApps },
  { name: '0024-verification-details', class: VerificationDetails },
  { name: '0025-setup-links', class: SetupLinks },
  { name: '0028-jobs', class: Jobs },
  { name: '0029-checks', class: Checks },
  { name: '0031-conversions', class: Conversions },
  { name: '0034-revocations', class: Revocations },
  { name: '0035-key-rotation', class: KeyRotation },
  { name: '0037-status-history', class: StatusHistory },
  { name: '0038-health-orders', class: HealthOrders },
  { name: '0039-webhooks', class: Webhooks },
  { name: '0042-setup-link-creators', class: SetupLinkCreators },
  { name: '0043-key-registration-failures', class: KeyRegistrationFailures },
  { name: '0045-expiry-forecasts', class: ExpiryForecasts },
  { name: '0047-usage-labels', class: UsageLabels },
  { name: '0048-annotations', class: ConnectionAnnotations },
  { name: '0052-owner-notifications', class: OwnerNotifications },
  { name: '0053-organisation-status', class: OrganisationStatus },
  { name: '0055-host-certificates', class: HostCertificates },
  { name: '0056-mail-counts', class: MailCounts },
  { name: '0058-connections-of-organisations', class: ConnectionsOfOrganisations },
  { name: '0060-key-removals', class: KeyRemovals },
  { name: '0062-mail-opt-outs', class: MailOptOuts },
  { name: '0063-audit-retention', class: AuditRetention },
  { name: '0065-audit-stream', class: AuditStream },
  { name: '0066-capacity', class: Capacity },
  { name: '0069-check-delays', class: CheckDelays },
  { name: '0070-unfinished-imports', class: UnfinishedImports },
  { name: '0072-last-good-order', class: LastGoodOrder },
  { name: '0073-audit-stream-target', class: AuditStreamTarget },
];
