// Where the provider keeps what it has to remember: a map, which outlives a change of its keys.

export function adapterOver(rows) {
  return class {
    constructor(model) {
      this.model = model;
    }

    key(id) {
      return `${this.model}:${id}`;
    }

    async upsert(id, payload) {
      rows.set(this.key(id), payload);
    }

    async find(id) {
      return rows.get(this.key(id));
    }

    async findByUid(uid) {
      return this.#first((payload) => payload.uid === uid);
    }

    async findByUserCode(userCode) {
      return this.#first((payload) => payload.userCode === userCode);
    }

    async destroy(id) {
      rows.delete(this.key(id));
    }

    async consume(id) {
      rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
    }

    async revokeByGrantId(grantId) {
      for (const [key, payload] of rows) {
        if (key.startsWith(`${this.model}:`) && payload.grantId === grantId) rows.delete(key);
      }
    }

    #first(fits) {
      for (const [key, payload] of rows) if (key.startsWith(`${this.model}:`) && fits(payload)) return payload;
      return undefined;
    }
  };
}
