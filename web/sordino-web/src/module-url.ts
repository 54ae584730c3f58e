/** The address of this module: that of index.js, too, if a bundler has joined the two. */
export const moduleUrl: string | undefined = import.meta.url;
