package storage

import (
	"context"
	"errors"
	"fmt"
)

// What a storage may have against the proxy itself. They come with the storage's answer, which
// is then not about the client.
var (
	// ErrOwnCredential says that the storage does not know the proxy's own credential, or
	// knows another secret for it.
	ErrOwnCredential = errors.New("MinIO refuses the proxy's own credential")
	// ErrOwnRights says that the proxy's own credential lacks a right.
	ErrOwnRights = errors.New("MinIO does not let the proxy's own credential do what it must")
)

// AgainstOwn returns what the answer to a request of the proxy's own has against its
// credential: ErrOwnCredential, ErrOwnRights, or nil for nothing.
func (e *Error) AgainstOwn() error {
	switch e.Code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessKeyDisabled", "InvalidTokenId", "ExpiredToken":
		return ErrOwnCredential
	case "AccessDenied":
		return ErrOwnRights
	case "InvalidObjectState": // 403, and about the object
		return nil
	}
	switch {
	case e.Status == 401, e.Status == 403 && e.Code == "RequestTimeTooSkewed":
		return ErrOwnCredential
	case e.Status == 403:
		return ErrOwnRights
	}
	return nil
}

// OwnRefused says whether err is the storage's refusal of the proxy's own credential.
func OwnRefused(err error) bool {
	return errors.Is(err, ErrOwnCredential) || errors.Is(err, ErrOwnRights)
}

// ForOwn returns at, which asks under the proxy's own credential, with its refusals as
// AgainstOwn has them. Other errors stay as they are.
func ForOwn(at Backend) Backend { return own{at} }

// own implements ForOwn. Each method is named, so that one that is added is not forgotten.
type own struct{ at Backend }

// refusal is the error of a request under the proxy's own credential.
func refusal(err error) error {
	var answer *Error
	if !errors.As(err, &answer) {
		return err
	}
	if fault := answer.AgainstOwn(); fault != nil {
		return fmt.Errorf("%w (%w)", fault, err)
	}
	return err
}

func answered[T any](out T, err error) (T, error) { return out, refusal(err) }

// Put implements Backend.
func (o own) Put(ctx context.Context, p *Put) (*Stored, error) { return answered(o.at.Put(ctx, p)) }

// Get implements Backend.
func (o own) Get(ctx context.Context, g *Get) (*Object, error) { return answered(o.at.Get(ctx, g)) }

// Head implements Backend.
func (o own) Head(ctx context.Context, g *Get) (*Info, error) { return answered(o.at.Head(ctx, g)) }

// List implements Backend.
func (o own) List(ctx context.Context, l *List) (*Page, error) { return answered(o.at.List(ctx, l)) }

// Copy implements Backend.
func (o own) Copy(ctx context.Context, c *Copy) (*Stored, error) { return answered(o.at.Copy(ctx, c)) }

// Delete implements Backend.
func (o own) Delete(ctx context.Context, d *Delete) (Metadata, error) {
	return answered(o.at.Delete(ctx, d))
}

// Tags implements Backend.
func (o own) Tags(ctx context.Context, g *Get) (map[string]string, error) {
	return answered(o.at.Tags(ctx, g))
}

// CreateUpload implements Backend.
func (o own) CreateUpload(ctx context.Context, c *CreateUpload) (string, error) {
	return answered(o.at.CreateUpload(ctx, c))
}

// PutPart implements Backend.
func (o own) PutPart(ctx context.Context, p *PutPart) (string, error) {
	return answered(o.at.PutPart(ctx, p))
}

// Complete implements Backend.
func (o own) Complete(ctx context.Context, c *Complete) (*Stored, error) {
	return answered(o.at.Complete(ctx, c))
}

// Abort implements Backend.
func (o own) Abort(ctx context.Context, u *Upload) error { return refusal(o.at.Abort(ctx, u)) }

// ListParts implements Backend.
func (o own) ListParts(ctx context.Context, l *ListParts) (*PartPage, error) {
	return answered(o.at.ListParts(ctx, l))
}

// ObjectParts implements Backend.
func (o own) ObjectParts(ctx context.Context, g *Get) ([]ObjectPart, error) {
	return answered(o.at.ObjectParts(ctx, g))
}

// Locks implements Backend.
func (o own) Locks(ctx context.Context, bucket string) (locks, retains bool, err error) {
	locks, retains, err = o.at.Locks(ctx, bucket)
	return locks, retains, refusal(err)
}

// ReadsLock implements Backend.
func (o own) ReadsLock(ctx context.Context, g *Get) error { return refusal(o.at.ReadsLock(ctx, g)) }

// May implements Backend.
func (o own) May(ctx context.Context, q *Question) error { return refusal(o.at.May(ctx, q)) }
