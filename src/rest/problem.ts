import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import {
  AppError,
  type ErrorCode,
  errorCodes,
  HttpError,
  type Issue,
  validationError,
} from '../common/errors.ts';
import { currentRequest, type Logger, logUnexpectedError } from '../common/log.ts';
import { typedKeys } from '../common/typed-keys.ts';
import { toServiceUnavailable } from '../database/outage.ts';
import { DataKeyError, describeDataKeyError } from '../encryption/data-key-error.ts';
import { retryAfterSeconds } from '../http/retry-after.ts';
import { invalidCursorMessage } from './request-schemas.ts';

/** The schema of `application/problem+json` (RFC 9457), with the members of the `extensions` of a GraphQL error. */
export const problemResponseSchema = z
  .object({
    type: z
      .string()
      .meta({ description: 'The kind of problem, as a URI; about:blank if the status describes it.' }),
    title: z.string().meta({ description: 'The kind of problem, as text.' }),
    status: z.int().min(400).max(599).meta({ description: 'The HTTP status.' }),
    detail: z.string().meta({ description: 'A description of this occurrence.' }),
    instance: z.string().optional().meta({ description: 'The id of the request, as a URI.' }),
    code: z.enum(typedKeys(errorCodes)).meta({ description: 'The error code.' }),
    issues: z
      .array(z.object({ path: z.array(z.union([z.string(), z.int()])), message: z.string() }))
      .optional()
      .meta({ description: 'Every broken rule, with the path of the field.' }),
    remedy: z.string().optional().meta({ description: 'What to do next.' }),
    retryAt: z.iso
      .datetime()
      .optional()
      .meta({ description: 'The time at which the request can be sent again.' }),
    currentVersion: z.int().optional().meta({ description: 'The version of the connection.' }),
    requestId: z.string().optional().meta({ description: 'The id of the request in the server log.' }),
  })
  .meta({ id: 'Problem', description: 'An error (RFC 9457).' });

/** The response to a failed request. */
export interface ProblemResponse {
  status: number;
  headers: Readonly<Record<string, string>>;
  body: z.input<typeof problemResponseSchema>;
}

/** Converts any error to a response: an `AppError` with its code, any other error as `INTERNAL_SERVER_ERROR`. */
export function describeProblem(thrown: unknown, log: Logger): ProblemResponse {
  const error = toServiceUnavailable(thrown, log) ?? thrown;
  if (!(error instanceof AppError)) {
    const { message, ...details } =
      error instanceof DataKeyError ? describeDataKeyError(error) : logUnexpectedError(log, error);
    return toProblemResponse('INTERNAL_SERVER_ERROR', message, details);
  }
  const issues = error.issues?.map(toRestIssue);
  const { remedy, retryAt, currentVersion } = error;
  const message = error.code === 'BAD_USER_INPUT' && issues ? validationError(issues).message : error.message;
  const details = { issues, remedy, retryAt: retryAt?.toISOString(), currentVersion };
  const { status, headers, body } = toProblemResponse(error.code, message, details);
  if (error instanceof HttpError) {
    const title = STATUS_CODES[error.status] ?? body.title;
    return {
      status: error.status,
      headers: error.headers,
      body: { ...body, type: 'about:blank', title, status: error.status },
    };
  }
  return {
    status,
    headers: { ...headers, ...(retryAt && { 'retry-after': retryAfterSeconds(retryAt) }) },
    body,
  };
}

function toProblemResponse(
  code: ErrorCode,
  detail: string,
  details: Partial<z.input<typeof problemResponseSchema>>,
): ProblemResponse {
  const record = currentRequest.getStore();
  if (record) record.outcome ??= code;
  const { status, description } = errorCodes[code];
  return {
    status,
    headers: code === 'UNAUTHENTICATED' ? { 'www-authenticate': 'Bearer' } : {},
    body: {
      type: `urn:app-connections:problem:${code.toLowerCase().replaceAll('_', '-')}`,
      title: description.replace(/\. .*$/s, '.'),
      status,
      detail,
      ...(record && { instance: `urn:uuid:${record.id}` }),
      code,
      ...details,
    },
  };
}

/** Converts the path of an issue: in REST, the members of `filter` are query parameters, and `after` is `cursor`. */
function toRestIssue({ path: [first, ...rest], message }: Issue) {
  if (first === 'filter') return { path: rest, message };
  if (first !== 'after') return { path: first === undefined ? [] : [first, ...rest], message };
  return { path: ['cursor'], message: invalidCursorMessage };
}
