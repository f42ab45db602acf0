/**
 * Takes the picture of the dashboard in the README: `npm run screenshot`. It starts the server as `npm start` does, on an
 * empty embedded database, creates some connections and opens the printed sign-in link in the browser of the tests.
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GraphQLClient, gql } from 'graphql-request';
import { chromium } from 'playwright-core';
import { firstProjectId } from '../../src/identity/organisations.ts';
import { chromiumPath } from './chromium.ts';
import { temporaryFolder } from './process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = join(root, 'docs/dashboard.png');
const port = 4_099;

const connections = [
  { name: 'okta-production', description: 'Employees and contractors', apiToken: '00production' },
  { name: 'okta-preview', description: 'Release tests', apiToken: '00preview' },
  { name: 'okta-customers', description: 'Customer identity', apiToken: '00customers' },
  { name: 'okta-acquisition', description: 'Not reachable yet', apiToken: 'broken' },
];

const create = gql`
  mutation ($input: CreateOktaConnectionInput!) {
    createOktaConnection(input: $input) {
      appConnection {
        id
      }
    }
  }
`;

using folder = temporaryFolder();
const server = spawn(process.execPath, ['src/launch.js', 'start'], {
  cwd: root,
  env: { ...process.env, DATA_DIR: folder.path, PORT: String(port), LOG_LEVEL: 'silent' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  const link = await printedLink();
  const apiKey = (await readFile(join(folder.path, 'api-key'), 'utf8')).trim();
  const client = new GraphQLClient(`http://127.0.0.1:${port}/graphql`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  for (const { name, description, apiToken } of connections) {
    const credentials = { instanceUrl: 'https://example.okta.com', apiToken };
    const input = {
      name,
      description,
      projectId: firstProjectId,
      credentials,
      onUnreachable: 'SAVE_UNVERIFIED',
    };
    await client.request(create, { input });
  }
  await takePicture(link);
  console.log(`wrote ${file}`);
} finally {
  server.kill();
}

/** The sign-in link that the server prints when it is ready. */
async function printedLink(): Promise<string> {
  let output = '';
  for await (const chunk of server.stdout) {
    output += chunk;
    const [link] = /http:\S+#code=\S+/.exec(output) ?? [];
    if (link) return link;
  }
  throw new Error(`The server ended without a sign-in link:\n${output}`);
}

async function takePicture(link: string): Promise<void> {
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1100, height: 620 } });
    await page.goto(link);
    await page.getByText('okta-production').waitFor();
    await page.screenshot({ path: file });
  } finally {
    await browser.close();
  }
}
