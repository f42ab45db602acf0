import type { App } from '../apps/app.ts';
import type { Logger } from '../common/log.ts';
import type { ProxySettings } from '../outbound/proxy.ts';
import type { Tracing } from './tracing.ts';
import type { TracingSettings } from './tracing-settings.ts';

/** Starts to trace, if it is configured; otherwise loads nothing. */
export async function openTracing(
  config: ProxySettings & { tracing: TracingSettings | undefined },
  { log, apps }: { log: Logger; apps: readonly App[] },
): Promise<Tracing | undefined> {
  if (!config.tracing) return undefined;
  const { startTracing } = await import('./tracing.ts');
  return startTracing(config.tracing, config, { log, pathTemplates: listPathTemplates(apps) });
}

/** The paths of requests to apps that spans name, with placeholders for ids and logins. */
function listPathTemplates(apps: readonly App[]): string[] {
  const limits = apps.flatMap(({ methods }) => methods.map(({ use }) => use?.rateLimits));
  return limits.flatMap((each) =>
    each ? [...each.buckets, ...(each.tokenPath ? [each.tokenPath] : [])] : [],
  );
}
