package vault

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// WriteConditions are a write's If-Match and If-None-Match: lists of ETags, or "*".
type WriteConditions struct{ IfMatch, IfNoneMatch string }

// none says that there are none, existence that they ask at most whether there is
// an object, which upstream can judge.
func (c WriteConditions) none() bool { return c.IfMatch == "" && c.IfNoneMatch == "" }

func (c WriteConditions) existence() bool {
	return (c.IfMatch == "" || c.IfMatch == "*") && (c.IfNoneMatch == "" || c.IfNoneMatch == "*")
}

// judge says whether the conditions hold for the object that is there, nil for
// none. ErrNoSuchKey, ErrPrecondition.
func (c WriteConditions) judge(current *etags) error {
	switch {
	case current == nil && c.IfMatch != "":
		return ErrNoSuchKey
	case current == nil:
		return nil
	case c.IfMatch != "" && !etagListed(c.IfMatch, current.client), c.IfNoneMatch != "" && etagListed(c.IfNoneMatch, current.client):
		return ErrPrecondition
	}
	return nil
}

// conditions judges a write's conditions, once upstream says that the caller may write:
// what is there shows in the answer.
func (v *Vault) conditions(ctx context.Context, c *Caller, w *Write) (storage.Conditions, error) {
	if !w.Conditions.existence() {
		if err := v.mayPut(ctx, c, w); err != nil {
			return storage.Conditions{}, err
		}
	}
	return v.pin(ctx, c, w.Name, w.Conditions)
}

// pin judges the conditions of a caller who may write, on the ETag that the client
// knows, and returns them as upstream can judge them, by the stored one. The look-up uses
// the proxy's own credential: who may write need not be one who may read.
func (v *Vault) pin(ctx context.Context, c *Caller, name sse.Name, asked WriteConditions) (pinned storage.Conditions, err error) {
	if asked.IfNoneMatch == "*" {
		pinned.IfNoneMatch = "*"
	}
	if asked.existence() {
		pinned.IfMatch = asked.IfMatch
		return pinned, nil
	}
	current, err := v.etagsOf(ctx, c, v.own(c), name, "")
	if err != nil {
		return pinned, err
	}
	if err := asked.judge(current); err != nil {
		return pinned, err
	}
	if current != nil {
		pinned.IfMatch = current.upstream
	}
	return pinned, nil
}

// readerConditions judges the conditions of a request that upstream cannot judge:
// on a DELETE, and on the destination of a copy. As on AWS they take the right to
// read the object, so upstream is asked as the caller. Best effort: nothing pins
// the object until upstream acts.
func (v *Vault) readerConditions(ctx context.Context, c *Caller, name sse.Name, asked WriteConditions, version string) error {
	if asked.none() {
		return nil
	}
	current, err := v.etagsOf(ctx, c, v.as(c), name, version)
	if err != nil {
		return err
	}
	return asked.judge(current)
}

// MayDelete judges the If-Match of a DELETE, which upstream ignores; version is "" for the
// current one. ErrNoSuchKey, ErrPrecondition.
func (v *Vault) MayDelete(ctx context.Context, c *Caller, name sse.Name, version, ifMatch string) error {
	return v.readerConditions(ctx, c, name, WriteConditions{IfMatch: ifMatch}, version)
}

// etags are the two names of one state of an object.
type etags struct{ client, upstream string }

// etagsOf looks the ETags of one version up, "" for the current one; nil if there is no
// object.
func (v *Vault) etagsOf(ctx context.Context, c *Caller, at storage.Backend, name sse.Name, version string) (*etags, error) {
	info, err := at.Head(ctx, &storage.Get{Name: name, Version: version})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec, err := recordOf(info.Reserved)
	if err != nil || rec == nil || rec.Mode != sse.ModeS3 && !needsManifest(rec, false) {
		return &etags{client: clientETag(rec, nil, info.ETag), upstream: info.ETag}, err
	}
	if rec.Mode != sse.ModeS3 { // no key is needed for it
		ref := manifestRef(name, rec, info.ETag)
		if _, err := v.o.Manifests.Find(ctx, ref, v.dataOf(name, info)); err != nil && mayPass(err) {
			return nil, err
		}
		return &etags{client: clientETag(rec, nil, v.ownETag(ref, info.ETag)), upstream: info.ETag}, nil
	}
	o, err := v.openObject(ctx, c.Keys, name, rec, info, nil, false)
	if err != nil {
		return nil, err
	}
	o.zero()
	return &etags{client: o.etag(), upstream: info.ETag}, nil
}
