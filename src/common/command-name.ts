/** Whether this is the released package, whose files are JavaScript, and not the source tree. */
export const isRelease = import.meta.url.endsWith('.js');

/**
 * Returns how a command is called here: `app-connections keys rotate`, or `npm run keys -- rotate` in the source tree.
 *
 * @param command such as `keys` or `audit verify`
 */
export function commandLine(command: string, args = ''): string {
  const inSource = `npm run ${command.replace(' ', ':')}${args && ' --'}`;
  return [isRelease ? `app-connections ${command}` : inSource, args].filter(Boolean).join(' ');
}
