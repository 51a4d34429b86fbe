import type { FromPage } from '../src/report/messages.js';
import { restoredState, type ViewState } from './state.js';

interface VsCodeApi {
  postMessage(message: FromPage): void;
  getState(): unknown;
  setState(state: ViewState): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

const api = acquireVsCodeApi();
let current = restoredState(api.getState());

export function post(message: FromPage): void {
  api.postMessage(message);
}

export function viewState(): ViewState {
  return current;
}

export function keepState(change: Partial<ViewState>): void {
  current = { ...current, ...change };
  api.setState(current);
}
