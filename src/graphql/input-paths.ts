import { AppError, validationError } from '../common/errors.ts';

/**
 * Runs an operation whose input is the argument `input` of a mutation. Operations name the fields of their own input in
 * the paths of issues; GraphQL names them from the arguments on: `name` becomes `input.name`.
 */
export async function withInputPaths<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw error instanceof AppError ? prefixPaths(error) : error;
  }
}

function prefixPaths(error: AppError): AppError {
  const { code, message, remedy, retryAt, currentVersion, cause } = error;
  // The path of an idempotency key is the same wherever the key is sent.
  if (!error.issues || code === 'IDEMPOTENCY_CONFLICT') return error;
  const issues = error.issues.map((issue) => ({ ...issue, path: ['input', ...issue.path] }));
  if (code === 'BAD_USER_INPUT') return validationError(issues);
  return new AppError(code, message, {
    issues,
    cause,
    ...(remedy !== undefined && { remedy }),
    ...(retryAt && { retryAt }),
    ...(currentVersion !== undefined && { currentVersion }),
  });
}
