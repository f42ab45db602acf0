/** Whether a URL is the base path itself, without the slash behind it. */
export function lacksTrailingSlash(url: string | undefined, basePath: string): boolean {
  return basePath !== '' && url?.split('?', 1)[0] === basePath;
}

/**
 * A URL as it is below the base path. One that does not begin with it stays as it is: some proxies take the base path off
 * before they pass a request on, and load balancers ask for `/health/ready` without it.
 */
export function withoutBasePath(url = '/', basePath: string): string {
  return basePath !== '' && url.startsWith(`${basePath}/`) ? url.slice(basePath.length) : url;
}
