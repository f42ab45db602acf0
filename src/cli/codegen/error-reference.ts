import { errorCodes } from '../../common/errors.ts';
import { generatedNotice, page, table } from './markdown.ts';

/** Generates docs/api/errors.md from the table of error codes. */
export function errorReference(): string {
  return page(
    generatedNotice('src/common/errors.ts'),
    '# Errors',
    introduction,
    codeTable(),
    '## Notes',
    notes,
  );
}

function codeTable(): string {
  const rows = Object.entries(errorCodes).map(([code, { status, description, remedy }]) => [
    `\`${code}\``,
    String(status),
    description,
    remedy,
  ]);
  return table(['Code', 'REST status', 'Meaning', 'What to do'], rows);
}

const introduction = `Over GraphQL, errors are top-level errors, so that a script that does not look at the payload still notices them. Over
REST, an error is an \`application/problem+json\` document (RFC 9457) with the status of its code. Codes are stable.
GraphQL has these members in \`extensions\`; REST has them beside \`title\` and \`detail\`:

| Member | Content |
| --- | --- |
| \`code\` | One of the codes below |
| \`issues\` | Every broken rule, each with the \`path\` of the field and a \`message\` |
| \`remedy\` | What to do next |
| \`retryAt\` | The time at which the request can be sent again |
| \`currentVersion\` | The version of the connection, with \`VERSION_CONFLICT\` |
| \`upstreamRequestId\` | The app's own id of the request, with errors of typed reads; GraphQL only |
| \`requestId\` | The id of the request in the server log, with \`INTERNAL_SERVER_ERROR\` |

Errors repeat no value that the caller sent. The remedy of a particular error can be more specific than the one in this
table.`;

const notes = `- GraphQL answers with HTTP status 200, except for 401 (\`UNAUTHENTICATED\`), 403 (\`ORGANISATION_DISABLED\`), 429
  (\`RATE_LIMITED\`), 503 (\`SERVICE_UNAVAILABLE\`) and the statuses of malformed requests (400, 405, 406, 413, 415). If part of a request was
  carried out before it was rate-limited, the status is 200 and the error stands beside the data.
- The first 100 broken rules of a request are listed.
- On REST, a body that is not a JSON object is a 400, one of more than 100,000 bytes a 413, one whose \`Content-Type\` is not
  JSON a 415, and a query that exceeds 16 kB with its headers a 431.
- \`UPSTREAM_RATE_LIMITED\` and \`UPSTREAM_UNREACHABLE\` say nothing about the credentials. With \`onUnreachable:
  SAVE_UNVERIFIED\`, the connection is stored with the status \`UNREACHABLE\`, unless the server refused the request because
  too many already wait for a host. Rejected credentials are never stored.`;
