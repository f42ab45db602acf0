import { z } from 'zod';
import { StartupError } from '../common/errors.ts';
import type { MetricsEndpoint } from '../telemetry/metrics-server.ts';
import { bearerToken, file } from './env-types.ts';

/** The variables of metrics. */
export const metricsVariables = {
  METRICS_PORT: z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .transform(Number)
    .refine((port) => port <= 65_535, { error: 'must be at most 65535' })
    .optional(),
  METRICS_HOST: z.string().trim().default('127.0.0.1'),
  METRICS_TOKEN: bearerToken.optional(),
  METRICS_TOKEN_FILE: file.optional(),
};

const metricsEnvironment = z.object(metricsVariables);

/**
 * Returns where metrics are served; undefined without METRICS_PORT.
 *
 * @throws StartupError if the variables contradict each other
 */
export function readMetricsEndpoint(
  data: z.output<typeof metricsEnvironment> & { PORT: number },
): MetricsEndpoint | undefined {
  const { METRICS_PORT: port, METRICS_HOST: host, METRICS_TOKEN: token } = data;
  if (port === undefined && token) throw new StartupError('METRICS_TOKEN needs METRICS_PORT');
  if (port !== undefined && port !== 0 && port === data.PORT)
    throw new StartupError('METRICS_PORT must differ from PORT');
  return port === undefined ? undefined : { port, host, token };
}
