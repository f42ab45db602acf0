import { type ApiError, offlineError } from '../api-error.ts';
import type { MutationResult } from '../run-mutation.ts';

/** What a setup link shows of its connection: `Setup` of the REST API. */
export interface Setup {
  organisation: string;
  expiresAt: string;
  connection: { name: string };
  app: { id: string; name: string; icon: string | null };
  method: { id: string; label: string; description: string; steps: readonly string[] };
  values: readonly { label: string; values: readonly string[] }[];
  jwksUrl: string | null;
  keys: readonly { keyId: string; publicJwk: Readonly<Record<string, string>> }[];
  fields: readonly SetupField[];
  verification: {
    status: 'VERIFIED' | 'REJECTED' | 'UNREACHABLE' | 'PENDING';
    message: string | null;
    remedy: string | null;
    upstreamRequestId: string | null;
  };
}

/** What the person with the link enters. */
export interface SetupField {
  name: string;
  label: string;
  placeholder: string;
  help: string;
  whereToFind: string;
  secret: boolean;
  /** The public value until now, to confirm or correct. */
  value: string | null;
}

/** The result of a step. */
export interface SetupResult {
  setup: Setup;
  isFinished: boolean;
}

const storageKey = 'app-connections.setup-link';

/** Whether this page was opened by the address of a setup link. */
export function isSetupPage(): boolean {
  return location.pathname.endsWith('/setup');
}

/**
 * Reads the secret of the link and removes it from the address and the history. The tab keeps it until the link is used up, so
 * that the page can be loaded again.
 */
export function consumeSetupSecret(): string | undefined {
  const secret = location.hash.slice(1);
  if (secret === '') return sessionStorage.getItem(storageKey) ?? undefined;
  sessionStorage.setItem(storageKey, secret);
  history.replaceState(null, '', location.pathname);
  return secret;
}

/** Forgets the secret of a link that no longer works. */
export function forgetSetupSecret(): void {
  sessionStorage.removeItem(storageKey);
}

/** Sends a step of the setup. The paths are relative to the page, so that they work under any base path. */
export async function sendSetupStep<Result>(
  secret: string,
  step: 'open' | 'check' | 'credentials',
  body?: object,
): Promise<MutationResult<Result>> {
  try {
    const response = await fetch(`api/v1/setup/${step}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${secret}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      credentials: 'omit',
      redirect: 'error',
    });
    const answer: unknown = await response.json();
    return response.ok ? { data: answer as Result } : { apiError: toApiError(answer) };
  } catch {
    return { apiError: offlineError };
  }
}

function toApiError(problem: unknown): ApiError {
  const { code, detail, issues, remedy, requestId } = problem as Partial<ApiError & { detail: string }>;
  return {
    code: code ?? 'INTERNAL_SERVER_ERROR',
    message: detail ?? 'Something went wrong.',
    issues: issues ?? [],
    remedy,
    requestId,
  };
}
