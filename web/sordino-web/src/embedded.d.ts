/** Copies of the package's files, made by the build: scripts as text, the rest in base64. */
export declare const worker: string;
export declare const worklet: string;
export declare const wasm: string;
export declare const model: string;
