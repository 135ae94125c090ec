package vault

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// conditions judges a write's conditions, once upstream says that the caller may write:
// what is there shows in the answer.
func (v *Vault) conditions(ctx context.Context, c *caller.Caller, w *Write) (storage.Conditions, error) {
	if !w.Conditions.Existence() {
		if err := v.mayPut(ctx, c, w); err != nil {
			return storage.Conditions{}, err
		}
	}
	return v.pin(ctx, c, w.Name, w.Conditions)
}

// pin judges the conditions of a caller who may write, on the ETag that the client
// knows, and returns them as upstream can judge them, by the stored one. The look-up uses
// the proxy's own credential: who may write need not be one who may read.
func (v *Vault) pin(ctx context.Context, c *caller.Caller, name sse.Name, asked conditions.Write) (pinned storage.Conditions, err error) {
	if asked.Absent() {
		pinned.IfNoneMatch = "*"
	}
	if asked.Existence() {
		pinned.IfMatch = asked.IfMatch
		return pinned, nil
	}
	current, err := v.etagsOf(ctx, c, v.own(c), name, "")
	if err != nil {
		return pinned, err
	}
	if err := asked.Check(current.known()); err != nil {
		return pinned, err
	}
	switch {
	case current != nil:
		pinned.IfMatch = current.upstream
	case asked.IfNoneMatch != "": // what comes meanwhile may be what must not be there
		pinned.IfNoneMatch = "*"
	}
	return pinned, nil
}

// whilePinned does what upstream does only if what pin returned holds. Where another object is
// there by then, pin judges that one, and it is done again. ErrChanged if that happens again and
// again, and what do returns.
func (v *Vault) whilePinned(ctx context.Context, c *caller.Caller, name sse.Name, asked conditions.Write, pinned storage.Conditions, do func(storage.Conditions) error) error {
	return whileChanging(func() error {
		err := do(pinned)
		if asked.Existence() || !errors.Is(err, storage.ErrPrecondition) {
			return err
		}
		var failed error
		if pinned, failed = v.pin(ctx, c, name, asked); failed != nil {
			return failed
		}
		return sealed.AsChanged(err)
	})
}

// readerConditions judges the conditions of a request that upstream cannot judge:
// on a DELETE, and on the destination of a copy. As on AWS they take the right to
// read the object, so upstream is asked as the caller. Best effort: nothing pins
// the object until upstream acts.
func (v *Vault) readerConditions(ctx context.Context, c *caller.Caller, name sse.Name, asked conditions.Write, version string) error {
	if asked.None() {
		return nil
	}
	current, err := v.etagsOf(ctx, c, v.as(c), name, version)
	if err != nil {
		return err
	}
	return asked.Check(current.known())
}

// MayDelete judges the If-Match of a DELETE, which upstream ignores; version is "" for the
// current one. ErrNoSuchKey, ErrPrecondition.
func (v *Vault) MayDelete(ctx context.Context, c *caller.Caller, name sse.Name, version, ifMatch string) error {
	return v.readerConditions(ctx, c, name, conditions.Write{IfMatch: ifMatch}, version)
}

// etags are the two names of one state of an object.
type etags struct{ client, upstream string }

// known is the one that clients know, "" if there is no object.
func (e *etags) known() string {
	if e == nil {
		return ""
	}
	return e.client
}

// etagsOf looks the ETags of one version up, "" for the current one; nil if there is no
// object.
func (v *Vault) etagsOf(ctx context.Context, c *caller.Caller, at storage.Backend, name sse.Name, version string) (*etags, error) {
	info, err := at.Head(ctx, &storage.Get{Name: name, Version: version})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec, err := sealed.RecordOf(info.Reserved)
	if err != nil || rec == nil || !rec.MD5ETag() && !sealed.NeedsManifest(rec, false) {
		return &etags{client: sealed.ETag(rec, nil, info.ETag), upstream: info.ETag}, err
	}
	if !rec.MD5ETag() { // no key is needed for it
		ref := sealed.Ref(name, rec, info.ETag)
		if _, err := v.o.Manifests.Find(ctx, ref, v.o.Objects.Data(name, info)); sealed.MayPass(err) || storage.OwnRefused(err) {
			return nil, err
		}
		return &etags{client: sealed.ETag(rec, nil, v.o.Objects.OwnETag(ref, info.ETag)), upstream: info.ETag}, nil
	}
	o, err := v.o.Objects.Open(ctx, c.Keys, name, rec, info, nil, false)
	if err != nil {
		return nil, err
	}
	o.Zero()
	return &etags{client: o.ETag(), upstream: info.ETag}, nil
}
