import { builtinModules } from 'node:module';
import tseslint from 'typescript-eslint';

/** The folders that also run in a web worker: no `vscode`, no DOM, no Node. tsconfig.core.json keeps their globals out. */
const core = ['checkpoint', 'jobs', 'measurement', 'network', 'report', 'runtime', 'samples', 'stability', 'truncation'];
const node = [...builtinModules, 'node:*'];

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', '.cache/', 'test-output/', 'src/checkpoint/onnx/onnx_pb.ts'] },
  ...tseslint.configs.strict,
  {
    languageOptions: {
      parserOptions: { project: ['./tsconfig.json', './webview/tsconfig.json'], tsconfigRootDir: import.meta.dirname },
    },
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/vscode/**', 'src/extension.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { paths: [{ name: 'vscode', message: 'Only src/vscode and src/extension.ts import vscode.' }] },
      ],
    },
  },
  {
    files: [...core.map((folder) => `src/${folder}/**/*.ts`), 'src/errors.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: [...node, 'vscode', '**/vscode/*', '**/cli/*'],
              message: 'The core runs in plain Node and in a web worker: bytes come in as Uint8Array.',
            },
          ],
        },
      ],
      'no-restricted-globals': ['error', 'process', 'Buffer', 'window', 'document', 'require', '__dirname'],
    },
  },
);
