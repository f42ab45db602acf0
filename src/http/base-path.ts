/** Whether a URL is the base path without a trailing slash. */
export function lacksTrailingSlash(url: string | undefined, basePath: string): boolean {
  return basePath !== '' && url?.split('?', 1)[0] === basePath;
}

/**
 * Removes the base path from a URL. A URL without the base path stays as it is: some proxies remove the base path before
 * they forward a request, and load balancers request `/health/ready` without it.
 */
export function withoutBasePath(url = '/', basePath: string): string {
  return basePath !== '' && url.startsWith(`${basePath}/`) ? url.slice(basePath.length) : url;
}
