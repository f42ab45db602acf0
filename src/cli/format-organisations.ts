import type { OrganisationSize } from '../administration/list-organisations.ts';

/** Formats organisations as the lines of a table. The name is last, because it may have spaces. */
export function formatOrganisations(sizes: readonly OrganisationSize[]): string[] {
  if (sizes.length === 0) return [];
  const header = ['id', 'connections', 'projects', 'API keys', 'events', 'last activity', 'status', 'name'];
  const rows = sizes.map((size) => [
    ...[size.id, size.connections, size.projects, size.apiKeys, size.events].map(String),
    ...[size.lastActivityAt?.toISOString() ?? '-', formatStatus(size), size.name],
  ]);
  const widths = header.map((_, column) =>
    Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)),
  );
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function formatStatus({ status, deleteAt }: OrganisationSize): string {
  if (status === 'DELETION_SCHEDULED') return `disabled, deleted after ${deleteAt?.toISOString()}`;
  return { ENABLED: 'enabled', DISABLED: 'disabled', DELETING: 'being deleted' }[status];
}
