var e=import.meta.url;export{e as moduleUrl};
