import { publishMissedChanges } from '../audit/missed-changes.ts';
import type { Tracer } from '../common/tracing.ts';
import type { Config } from '../config/config.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { startSchedule } from '../jobs/schedule.ts';
import type { MailSender } from '../outbound/mail.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import { startWebhookDelivery } from '../webhooks/delivery.ts';
import { startCleanUp } from './clean-up.ts';
import { listScheduledWork } from './scheduled-work.ts';
import type { ServerDeps } from './server-deps.ts';

/** The work that a server does without requests. */
export interface BackgroundWork {
  /** Starts no further work, and waits for the current one. */
  stop(): Promise<unknown>;
  /** Stops telling other servers of changes. Call it after the last change. */
  stopPublishing(): Promise<void>;
}

/** Starts the clean-up, the schedules of connections, the delivery of webhooks, and the publication of missed changes. */
export function startBackgroundWork(
  config: Config,
  deps: ServerDeps,
  connections: ConnectionDeps,
  clients: { webhooks: OutboundClient; mail: MailSender | undefined; tracer: Tracer | undefined },
): BackgroundWork {
  const { database, log, webhookIntervalMs } = deps;
  const { webhooks: outbound, mail, tracer } = clients;
  const { auditRetentionDays } = config;
  const streamsAudit = config.auditStream !== undefined;
  const cleanUp = startCleanUp({ ...connections, auditRetentionDays, streamsAudit, log });
  const works = listScheduledWork(connections, config, deps);
  const schedule = works.length > 0 ? startSchedule({ database, log, tracer }, works) : undefined;
  const webhooks = webhookIntervalMs
    ? startWebhookDelivery({ ...connections, outbound, mail, tracer }, webhookIntervalMs)
    : undefined;
  const stopPublishing = publishMissedChanges({ database, log });
  return {
    stop: () => Promise.all([cleanUp.stop(), schedule?.stop(), webhooks?.stop()]),
    stopPublishing,
  };
}
