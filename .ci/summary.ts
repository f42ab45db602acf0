/**
 * Prints the slowest test files, the failed tests and the totals of test runs, whose JSON reports are in a folder:
 * node .ci/summary.ts FOLDER FAILED_CHECKS RUN=EXIT_CODE…
 */
import { readFileSync } from 'node:fs';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    name: string;
    status: string;
    /** The error of a file that could not be loaded or set up. */
    message: string;
    startTime: number;
    endTime: number;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

const [folder, failedChecks = '0', ...runs] = process.argv.slice(2);
const durations: [seconds: number, file: string][] = [];
const failures: string[] = [];
let passed = 0;
let failed = Number(failedChecks);

for (const [run = '', exitCode] of runs.map((given) => given.split('='))) {
  const report = readReport(run);
  if (!report) {
    failed += 1;
    failures.push(`npm test (${run}) ended without a report`);
    continue;
  }
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  for (const { name, startTime, endTime, ...file } of report.testResults) {
    const place = `${name.split('/').at(-1)} (${run})`;
    durations.push([Math.round((endTime - startTime) / 1000), place]);
    if (file.status === 'failed' && file.message) failures.push(describe(place, file.message));
    for (const { status, fullName, failureMessages } of file.assertionResults) {
      if (status === 'failed') failures.push(describe(`${place}: ${fullName}`, failureMessages[0]));
    }
  }
  // Such as a file that cannot be loaded, or an unhandled rejection.
  if (exitCode !== '0' && report.numFailedTests === 0) {
    failed += 1;
    failures.push(`npm test (${run}) failed outside of tests`);
  }
}

durations.sort(([a], [b]) => b - a);
console.log('The ten slowest test files, in seconds:');
for (const [seconds, file] of durations.slice(0, 10)) console.log(`${seconds}  ${file}`);
if (failedChecks !== '0') console.log(`Failed checks: ${failedChecks}`);
if (failures.length > 0) console.log(`The failed tests:\n${failures.join('\n')}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

function readReport(run: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(`${folder}/${run}.json`, 'utf8'));
  } catch {
    return undefined;
  }
}

function describe(test: string, message = ''): string {
  return `${test}\n    ${message.trimStart().split('\n')[0]}`;
}
