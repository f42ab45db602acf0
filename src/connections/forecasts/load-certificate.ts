import { createBatchLoader } from '../../database/batch-loader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { getHostOrigin } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostCertificate } from '../host-certificate.entity.ts';

const loaders = new WeakMap<Caller, (origin: string) => Promise<HostCertificate | undefined>>();

/** Reads the certificate of the host of a connection, if a server has seen it. Those of the same event-loop turn share a statement. */
export async function loadCertificate(
  deps: ConnectionDeps,
  caller: Caller,
  connection: AppConnection,
): Promise<HostCertificate | null> {
  const cached = loaders.get(caller);
  const load = cached ?? createLoader(deps, caller);
  if (!cached) loaders.set(caller, load);
  return (await load(getHostOrigin(deps, connection))) ?? null;
}

function createLoader({ database }: ConnectionDeps, { orgId }: Caller) {
  return createBatchLoader(async (origins: readonly string[]) => {
    const found = await database.select(
      HostCertificate,
      orgId,
      sql`where org_id = ${orgId} and origin = any(${[...new Set(origins)]}::text[])`,
    );
    const certificates = new Map(found.map((certificate) => [certificate.origin, certificate]));
    return origins.map((origin) => certificates.get(origin));
  });
}
