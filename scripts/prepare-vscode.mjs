// Prepares a real VS Code for the end-to-end tests: code-server from npm (the built workbench and extension host), and a Chromium to show it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const CODE_SERVER = '4.100.3';
/** The search tool of VS Code, which Quick Open and `workspace.findFiles` need; its platform packages on npm hold the binary. */
const RIPGREP = '1.18.0';
/** Raised when the build steps below change, so that folders prepared by an older script are redone. */
const RECIPE = 2;
const MARKER = 'prepared.json';

const say = (line) => process.stderr.write(`[prepare-vscode] ${line}\n`);

/** A failure whose message is meant for the person at the terminal; no stack is shown for it. */
class SetupError extends Error {}

function cacheFolder() {
  const { RNN_STABILITY_CACHE, XDG_CACHE_HOME } = process.env;
  if (RNN_STABILITY_CACHE) return path.resolve(RNN_STABILITY_CACHE);
  return path.join(XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'rnn-stability');
}

// `npm test` exports this project's npm settings (ignore-scripts among them) to its children. Only what tells where and how to reach the
// registry, and where the Node headers lie, may pass.
const NPM_KEEP = new Set(
  'registry userconfig globalconfig cache nodedir proxy https_proxy noproxy ca cafile strict_ssl'
    .split(' ')
    .map((key) => `npm_config_${key}`),
);

function cleanEnv() {
  const env = {};
  for (const [key, value] of Object.entries(process.env)) {
    const name = key.toLowerCase().replaceAll('-', '_');
    if (name.startsWith('npm_') && !NPM_KEEP.has(name) && !name.startsWith('npm_config_//')) continue;
    if (name === 'node_options' || name === 'init_cwd') continue;
    env[key] = value;
  }
  return env;
}

/** Runs a command; its output is shown only when it fails. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: cleanEnv(), ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => (output = (output + chunk).slice(-6000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(new SetupError(`${command} could not be started: ${error.message}`)));
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new SetupError(`"${command} ${args.join(' ')}" ended with ${code}:\n${output}`));
    });
  });
}

const isPrepared = async (folder) => {
  try {
    const marker = JSON.parse(await readFile(path.join(folder, MARKER), 'utf8'));
    return marker.recipe === RECIPE && marker.version === CODE_SERVER;
  } catch {
    return false;
  }
};

const isRunning = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** Removes what interrupted preparations left behind; a preparation still running in another process keeps its folder. */
async function removeLeftovers(cache, name) {
  for (const entry of await readdir(cache)) {
    const [, pid] = entry.startsWith(`${name}.`) ? (/\.building-(\d+)$/.exec(entry) ?? []) : [];
    if (pid && !isRunning(Number(pid))) await rm(path.join(cache, entry), { recursive: true, force: true });
  }
}

async function build(folder) {
  await mkdir(folder, { recursive: true });
  // A manifest of its own makes npm take this folder as the project, whatever lies above it.
  await writeFile(path.join(folder, 'package.json'), '{"name":"rnn-stability-workbench","private":true}\n');
  const vscode = path.join(folder, 'node_modules', 'code-server', 'lib', 'vscode');
  const npm = (cwd, ...args) => run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd });
  // The package's own install scripts download ripgrep from GitHub and want Kerberos headers: the first comes from npm here, the second is
  // not needed.
  const ripgrep = `@vscode/ripgrep-${process.platform}-${process.arch}`;
  say(`installing code-server@${CODE_SERVER} (the whole preparation takes a minute or two)`);
  await npm(folder, 'install', '--ignore-scripts', `code-server@${CODE_SERVER}`, `${ripgrep}@${RIPGREP}`);
  say('installing the dependencies of the workbench and of its built-in extensions');
  await npm(vscode, 'install', '--ignore-scripts', '--omit=dev');
  await npm(path.join(vscode, 'extensions'), 'install', '--ignore-scripts', '--omit=dev');
  const bin = path.join(vscode, 'node_modules', '@vscode', 'ripgrep', 'bin');
  await cp(path.join(folder, 'node_modules', ripgrep, 'bin'), bin, { recursive: true });
  say('compiling the native modules');
  await npm(vscode, 'rebuild', '--ignore-scripts=false', '@vscode/spdlog', 'native-watchdog');
  await npm(folder, 'rebuild', '--ignore-scripts=false', 'argon2');
  await symlink('node_modules', path.join(vscode, 'node_modules.asar')).catch((error) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

async function prepareCodeServer() {
  if (process.platform === 'win32')
    throw new SetupError('code-server does not run on Windows: run the end-to-end tests on Linux or macOS.');
  const cache = cacheFolder();
  // The native modules fit one Node ABI, so each has its own folder.
  const name = `code-server-${CODE_SERVER}-${process.platform}-${process.arch}-abi${process.versions.modules}`;
  const folder = path.join(cache, name);
  const entry = path.join(folder, 'node_modules', 'code-server', 'out', 'node', 'entry.js');
  if (await isPrepared(folder)) return entry;

  await mkdir(cache, { recursive: true });
  await removeLeftovers(cache, name);
  const building = `${folder}.building-${process.pid}`;
  await rm(building, { recursive: true, force: true });
  try {
    await build(building);
    await writeFile(path.join(building, MARKER), `${JSON.stringify({ version: CODE_SERVER, recipe: RECIPE })}\n`);
    // Another process may have finished meanwhile: its folder may be in use, so it stays.
    if (!(await isPrepared(folder))) {
      await rm(folder, { recursive: true, force: true });
      await rename(building, folder);
    }
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  say(`code-server is ready in ${folder}`);
  return entry;
}

const CHROME_NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'microsoft-edge'];

function findChrome() {
  const folders = [
    ...(process.env.PATH ?? '').split(path.delimiter),
    '/usr/bin',
    '/usr/local/bin',
    '/snap/bin',
    '/opt/google/chrome',
  ];
  const places = folders.filter(Boolean).flatMap((folder) => CHROME_NAMES.map((name) => path.join(folder, name)));
  if (process.platform === 'darwin') {
    for (const app of ['Google Chrome', 'Chromium', 'Microsoft Edge']) {
      for (const home of ['/', os.homedir()])
        places.push(path.join(home, 'Applications', `${app}.app`, 'Contents', 'MacOS', app));
    }
  }
  return places.find((place) => existsSync(place));
}

async function prepareChrome() {
  const given = process.env.CHROME_PATH;
  if (given) {
    if (existsSync(given)) return given;
    throw new SetupError(`CHROME_PATH names ${given}, which does not exist.`);
  }
  const found = findChrome();
  if (found) return found;
  const advice =
    'No Chromium or Chrome found: install one (Debian: "apt-get install chromium") or set CHROME_PATH to its executable.';
  if (!existsSync('/usr/bin/apt-get')) throw new SetupError(advice);

  const root = process.getuid?.() === 0;
  if (!root && !existsSync('/usr/bin/sudo')) throw new SetupError(advice);
  say('installing chromium with apt-get');
  // sudo must fail rather than ask: a test run has nobody to type a password.
  const apt = (...args) => {
    const words = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...args];
    return root ? run(words[0], words.slice(1)) : run('sudo', ['-n', ...words]);
  };
  try {
    await apt('update');
    await apt('install', '-y', '--no-install-recommends', 'chromium');
  } catch (error) {
    throw new SetupError(`${advice}\n${error.message}`);
  }
  const installed = findChrome();
  if (!installed) throw new SetupError(advice);
  return installed;
}

/**
 * Makes sure that code-server and a Chromium are there; quick when they already are.
 * @returns {Promise<{ entry: string, chrome: string }>} code-server's script, to be run with this Node, and the browser's executable
 */
export async function prepareWorkbench() {
  const chrome = await prepareChrome();
  return { entry: await prepareCodeServer(), chrome };
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const { entry, chrome } = await prepareWorkbench();
    say(`code-server: ${entry}`);
    say(`browser: ${chrome}`);
  } catch (error) {
    say(error instanceof SetupError ? error.message : error.stack);
    process.exitCode = 1;
  }
}
