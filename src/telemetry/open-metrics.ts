import type { MetricsDeps } from './metrics.ts';
import { type MetricsEndpoint, type MetricsServer, startMetricsServer } from './metrics-server.ts';

/** Starts to measure and to serve metrics, if they are configured; otherwise loads nothing. */
export async function openMetrics(
  { metrics: endpoint }: { metrics: MetricsEndpoint | undefined },
  dependencies: MetricsDeps,
): Promise<MetricsServer | undefined> {
  if (!endpoint) return undefined;
  const { startMetrics } = await import('./metrics.ts');
  const metrics = startMetrics(dependencies);
  try {
    return await startMetricsServer(endpoint, metrics);
  } catch (error) {
    metrics.stop();
    throw error;
  }
}
