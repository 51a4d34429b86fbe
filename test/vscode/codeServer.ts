// The server half of the end-to-end harness: code-server with a fresh profile, the packaged extension installed, and its log.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/** Polls until `probe` gives something other than undefined; a probe that throws (a frame that goes away, say) counts as undefined. */
export async function until<T>(what: string | (() => string), timeout: number, probe: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + timeout;
  for (;;) {
    const found = await probe().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`No ${typeof what === 'string' ? what : what()} after ${timeout} ms`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

// Leads the server's process group and ends it when the pipe from the tests closes, so that even a killed test run leaves no server behind.
const GUARD = `
  const { spawn } = require('node:child_process');
  const end = () => process.kill(-process.pid, 'SIGKILL');
  spawn(process.execPath, process.argv.slice(1), { stdio: ['ignore', 'inherit', 'inherit'] }).on('exit', end);
  process.stdin.resume().on('close', end);`;

export class CodeServer {
  private process: ChildProcess | undefined;

  private constructor(
    private readonly entry: string,
    private readonly folder: string,
  ) {}

  /** Makes a fresh profile in the temporary folder. */
  static async create(entry: string, name: string): Promise<CodeServer> {
    const folder = await mkdtemp(path.join(os.tmpdir(), `vscode-${name}-`));
    await mkdir(path.join(folder, 'data', 'User'), { recursive: true });
    return new CodeServer(entry, folder);
  }

  private at(file: string): string {
    return path.join(this.folder, file);
  }

  private get env(): NodeJS.ProcessEnv {
    // Neither the settings of a VS Code that runs the tests, nor those of the test runner, are for the server.
    const foreign =
      /^(VSCODE_|CODE_SERVER_|ELECTRON_|VITEST|NODE_OPTIONS$|NODE_ENV$|PORT$|PASSWORD$|HASHED_PASSWORD$|GITHUB_TOKEN$)/;
    const kept = Object.entries(process.env).filter(([key]) => !foreign.test(key));
    // What the server would leave in the user's folders (a heartbeat file, sockets) goes with the profile.
    return { ...Object.fromEntries(kept), XDG_DATA_HOME: this.folder, XDG_RUNTIME_DIR: this.folder };
  }

  private get arguments(): string[] {
    return [
      this.entry,
      '--config',
      this.at('config.yaml'),
      '--user-data-dir',
      this.at('data'),
      '--extensions-dir',
      this.at('extensions'),
    ];
  }

  async writeSettings(settings: Record<string, unknown>): Promise<void> {
    await writeFile(this.at('data/User/settings.json'), JSON.stringify(settings, null, 2));
  }

  async install(vsix: string): Promise<void> {
    await promisify(execFile)(process.execPath, [...this.arguments, '--install-extension', path.resolve(vsix)], {
      env: this.env,
    });
  }

  /** Starts the server on a free port and gives its address. */
  async start(): Promise<string> {
    const own = ['--session-socket', this.at('session'), '--auth', 'none', '--bind-addr', '127.0.0.1:0'];
    const args = ['-e', GUARD, ...this.arguments, ...own, '--disable-telemetry', '--disable-update-check'];
    const child = spawn(process.execPath, args, { detached: true, env: this.env, stdio: 'pipe' });
    this.process = child;
    let output = '';
    const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    return until(
      () => `address from code-server, which said:\n${output}`,
      30_000,
      () => Promise.resolve(/listening on (http:\S+)/.exec(output)?.[1]),
    );
  }

  /** The extension hosts' log: when they were ready, and which extensions they activated. */
  async hostLog(): Promise<string> {
    const logs = this.at('data/logs');
    const files = (await readdir(logs, { recursive: true })).filter((file) => file.endsWith('remoteexthost.log'));
    return (await Promise.all(files.map((file) => readFile(path.join(logs, file), 'utf8')))).join('');
  }

  /** Ends the server with all its children and removes the profile. */
  async close(): Promise<void> {
    const child = this.process;
    if (child?.pid && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      process.kill(-child.pid, 'SIGKILL');
      await gone;
    }
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
