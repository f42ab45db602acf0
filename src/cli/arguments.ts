import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { suggest } from '../common/suggest.ts';

/** The arguments break a rule of the command line. The message is one sentence; the exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A parsed command line. */
interface Arguments<Options extends ParseArgsOptionsConfig> {
  /** The first word; absent if there is none. */
  name: string | undefined;
  /** The other words. */
  others: string[];
  options: ReturnType<typeof parseArgs<{ options: Options; allowPositionals: true }>>['values'];
}

/**
 * Parses words and options.
 *
 * @param maxWords the most words
 * @throws UsageError that names the first argument that is wrong, with a suggestion
 */
export function parseArguments<const Options extends ParseArgsOptionsConfig>(
  args: string[],
  options: Options,
  maxWords = 1,
): Arguments<Options> {
  const { tokens } = parseArgs({ args, options, allowPositionals: true, strict: false, tokens: true });
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (!option) {
      const names = Object.keys(options).map((name) => `--${name}`);
      throw new UsageError(`Unknown option ${token.rawName}.${suggest(token.rawName, names)}`);
    }
    const isMissing = token.value === undefined || (!token.inlineValue && token.value.startsWith('--'));
    if (option.type === 'string' && isMissing)
      throw new UsageError(`The option ${token.rawName} needs a value.`);
    if (option.type === 'boolean' && token.value !== undefined)
      throw new UsageError(`The option ${token.rawName} takes no value.`);
  }
  if (words.length > maxWords) throw new UsageError(`Unexpected argument "${words[maxWords]}".`);
  const [name, ...others] = words;
  return { name, others, options: parseArgs({ args, options, allowPositionals: true }).values };
}

/**
 * Finds a command.
 *
 * @throws UsageError with a suggestion
 */
export function findCommand<Command>(
  commands: Readonly<Record<string, Command>>,
  name: string | undefined,
): Command {
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return command;
  if (name === undefined)
    throw new UsageError(`A command is missing: ${Object.keys(commands).join(' or ')}.`);
  throw new UsageError(`Unknown command "${name}".${suggest(name, [...Object.keys(commands), 'help'])}`);
}
