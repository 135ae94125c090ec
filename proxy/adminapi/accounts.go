package adminapi

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// payloadsAtOnce bounds how many sealed bodies are opened at once: each takes 64
	// MiB while its key is derived.
	payloadsAtOnce = 1
	// payloadQueue is how many wait, callers in turn, and payloadWait how long.
	payloadQueue = 1024
	payloadWait  = time.Minute
	// noteTimeout bounds how long it takes to note what MinIO has done.
	noteTimeout = 15 * time.Second
)

// noting is the context for noting what MinIO has done: also if the client is gone.
func noting(r *intake.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), noteTimeout)
}

// openPayload decodes JSON that is sealed under the caller's secret.
func (a *API) openPayload(r *intake.Request, payload []byte, v any) error {
	leave, err := a.sealing.EnterAs(r.Context(), r.Claim())
	if err != nil {
		return err
	}
	plain, err := a.payloads.Open(r.Context(), r.Caller.Identity.SecretKey, payload)
	leave()
	if err != nil {
		return err
	}
	defer clear(plain)
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("%w: its content is not the JSON expected", adminpayload.ErrMalformed)
	}
	return nil
}

// openRequest is openPayload for a request, once MinIO has judged it without its
// payload: MinIO too refuses callers before it opens anything, and changes nothing
// for a payload that is none.
func (a *API) openRequest(r *intake.Request, payload []byte, v any) error {
	if err := a.judged(r); err != nil {
		return err
	}
	return a.openPayload(r, payload, v)
}

// judged has MinIO judge a request without its payload.
func (a *API) judged(r *intake.Request) error {
	answer, err := a.o.Forwarder.Forward(r.Context(), r.Actor(), &upstream.Forward{
		Method: r.Method, Bucket: r.Bucket, Key: r.Key, Query: r.Query, API: upstream.Admin,
	})
	if err == nil {
		_ = answer.Close()
	} else if refused := refusal(err); refused == nil || refused.Status != http.StatusBadRequest {
		return err
	}
	return nil
}

// mayLearn says whether an access key's new secret is to be learned once MinIO
// has taken it. What the configuration already says need not be; what
// contradicts it is refused.
func (a *API) mayLearn(ctx context.Context, accessKey, secret string) (bool, error) {
	err := a.identities.MayLearn(ctx, accessKey)
	if !errors.Is(err, identity.ErrProtected) {
		return err == nil, err
	}
	known, unknown := a.identities.UpstreamSecret(ctx, accessKey)
	if unknown == nil && (secret == "" || subtle.ConstantTimeCompare([]byte(known), []byte(secret)) == 1) {
		return false, nil
	}
	return false, err
}

// learn keeps what MinIO has accepted: the client is answered when this proxy
// knows it. Whoever asked bounds its rights; who changes its own secret keeps
// those that it had, and a new end alone changes no rights.
func (a *API) learn(r *intake.Request, id identity.Identity) error {
	id.Creator = r.Caller.AccessKey
	ctx, cancel := noting(r)
	defer cancel()
	if err := a.identities.Learn(ctx, id); err != nil {
		return errNotLearned(fmt.Errorf("learn %q: %w", id.AccessKey, err))
	}
	a.log.Info("identity learned", "identity", id, "creator", id.Creator, "id", r.ID)
	return nil
}

// extend notes a new end that MinIO has accepted. Of an account that the proxy does
// not know there is nothing to note.
func (a *API) extend(r *intake.Request, id identity.Identity) error {
	ctx, cancel := noting(r)
	defer cancel()
	err := a.identities.Extend(ctx, id.AccessKey, id.Expires)
	if err != nil && !errors.Is(err, identity.ErrUnknown) {
		return errNotLearned(fmt.Errorf("extend %q: %w", id.AccessKey, err))
	}
	return nil
}

// addUser passes `mc admin user add` on, which also changes a user's secret, and
// learns the user.
func (a *API) addUser(w http.ResponseWriter, r *intake.Request) error {
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	accessKey := r.Query.Get("accessKey")
	if a.identities.IsOwn(accessKey) {
		return errManaged(accessKey)
	}
	var asked struct {
		SecretKey string `json:"secretKey"`
		Status    string `json:"status"`
	}
	if err := a.openRequest(r, body, &asked); err != nil {
		return err
	}
	if a.identities.IsManaged(accessKey) && (asked.SecretKey == "" || !enables(asked.Status)) {
		return errManaged(accessKey)
	}
	learn, err := a.mayLearn(r.Context(), accessKey, asked.SecretKey)
	if err != nil {
		return err
	}
	resp, err := a.askAdminWith(r, body)
	if err != nil {
		return err
	}
	if learn && asked.SecretKey != "" {
		if err := a.learn(r, identity.Identity{AccessKey: accessKey, SecretKey: asked.SecretKey, Kind: identity.User}); err != nil {
			_ = resp.Close()
			return err
		}
	}
	return a.in.PassBack(w, r, resp)
}

// removeUser passes the removal of a user on and forgets the user, and the
// service accounts that MinIO removes with it.
func (a *API) removeUser(w http.ResponseWriter, r *intake.Request) error {
	return a.removeAccount(w, r, func(ctx context.Context, accessKey string) error {
		known, err := a.identities.List(ctx)
		if err != nil {
			return err
		}
		for i := range known {
			if known[i].Kind == identity.ServiceAccount && known[i].Parent == accessKey {
				if err := a.identities.Forget(ctx, known[i].AccessKey); err != nil {
					return err
				}
			}
		}
		return a.identities.Forget(ctx, accessKey)
	})
}

// deleteServiceAccount passes the removal of an access key on and forgets it.
// MinIO answers 204 and 404 also to callers without rights, for keys that are no
// service account's or somebody else's: so the key must be gone there.
func (a *API) deleteServiceAccount(w http.ResponseWriter, r *intake.Request) error {
	return a.removeAccount(w, r, func(ctx context.Context, accessKey string) error {
		if !a.isGoneUpstream(ctx, accessKey, identity.ServiceAccount) {
			return nil
		}
		return a.identities.Forget(ctx, accessKey)
	})
}

// removeAccount forgets what MinIO has removed, now or before: the request may be
// the repetition of one that was cut short.
func (a *API) removeAccount(w http.ResponseWriter, r *intake.Request, forget func(context.Context, string) error) error {
	if name := r.Query.Get("accessKey"); a.identities.IsManaged(name) {
		return errManaged(name)
	}
	resp, err := a.askAdmin(r)
	var answer *storage.Error
	if err != nil && (!errors.As(err, &answer) || answer.Status != http.StatusNotFound) {
		return err
	}
	ctx, cancel := noting(r)
	defer cancel()
	var forgotten error
	if accessKey := r.Query.Get("accessKey"); err == nil || a.isGoneUpstream(ctx, accessKey, identity.User, identity.ServiceAccount) {
		forgotten = forget(ctx, accessKey)
	}
	if errors.Is(forgotten, identity.ErrProtected) { // what was added by command stays, and MinIO refuses it
		forgotten = nil
	}
	switch {
	case forgotten != nil:
		if resp != nil {
			_ = resp.Close()
		}
		return errNotLearned(fmt.Errorf("forget %q: %w", r.Query.Get("accessKey"), forgotten))
	case err != nil:
		return err
	}
	return a.in.PassBack(w, r, resp)
}

// isGoneUpstream says that MinIO knows a learned identity of one of these kinds no
// more: it is asked with that identity's own secret.
func (a *API) isGoneUpstream(ctx context.Context, accessKey string, kinds ...identity.Kind) bool {
	id, err := a.identities.Lookup(ctx, accessKey)
	if err != nil || !slices.Contains(kinds, id.Kind) {
		return false
	}
	var answer *storage.Error
	return errors.As(a.in.KnownUpstream(ctx, id.AccessKey, id.SecretKey), &answer) && answer.Code == "InvalidAccessKeyId"
}

// accountCredentials are what MinIO says of a new service account.
type accountCredentials struct {
	AccessKey  string    `json:"accessKey"`
	SecretKey  string    `json:"secretKey"`
	Expiration time.Time `json:"expiration"`
}

// addServiceAccount passes `mc admin user svcacct add` and `mc admin accesskey
// create` on, and learns the account. One that cannot be learned is removed
// again, so that the request can be repeated.
func (a *API) addServiceAccount(w http.ResponseWriter, r *intake.Request) error {
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	var asked struct {
		accountCredentials
		TargetUser string `json:"targetUser"`
	}
	// MinIO judges it by what the payload asks for, and lets every user ask.
	if err := a.openPayload(r, body, &asked); err != nil {
		return err
	}
	r.Aims(map[string][]string{"accessKey": {asked.AccessKey}, "targetUser": {asked.TargetUser}})
	if err := r.Restate(); err != nil {
		return err
	}
	for _, name := range []string{asked.AccessKey, asked.TargetUser} {
		// Who signs with the proxy's own access key has its rights already.
		if a.identities.IsOwn(name) && (name == asked.AccessKey || name != r.Caller.AccessKey) {
			return errManaged(name)
		}
	}
	learn, err := a.mayLearn(r.Context(), asked.AccessKey, asked.SecretKey)
	if err != nil {
		return err
	}
	resp, err := a.askAdminWith(r, body)
	if err != nil {
		return err
	}
	if !learn {
		return a.in.PassBack(w, r, resp)
	}
	made, answer, err := a.readCredentials(r, resp, asked.accountCredentials)
	if err != nil {
		if asked.AccessKey != "" {
			a.dropServiceAccount(r, asked.AccessKey)
		}
		return err
	}
	r.Aims(map[string][]string{"accessKey": {made.AccessKey}})
	parent := asked.TargetUser
	if parent == "" {
		parent = r.Caller.Identity.AtUpstream().AccessKey
	}
	if err := a.learn(r, identity.Identity{
		AccessKey: made.AccessKey, SecretKey: made.SecretKey, Kind: identity.ServiceAccount, Parent: parent, Expires: made.expires(),
	}); err != nil {
		a.dropServiceAccount(r, made.AccessKey)
		return err
	}
	resp.ReadCloser = io.NopCloser(bytes.NewReader(answer))
	return a.in.PassBack(w, r, resp)
}

// expires is the account's end; MinIO writes the Unix epoch, or nothing, for none.
func (c accountCredentials) expires() time.Time {
	if c.Expiration.Unix() <= 0 {
		return time.Time{}
	}
	return c.Expiration
}

// readCredentials reads MinIO's sealed answer to a request for an account. What
// the request asked for must be what was made; what MinIO chose must not be the
// access key of somebody known.
func (a *API) readCredentials(r *intake.Request, resp *upstream.Answer, asked accountCredentials) (made accountCredentials, answer []byte, err error) {
	defer resp.Close()
	answer, err = io.ReadAll(io.LimitReader(resp, secretBody))
	if err != nil {
		return made, nil, intake.ReadError(err)
	}
	var said struct {
		Credentials accountCredentials `json:"credentials"`
	}
	if err := a.openPayload(r, answer, &said); err != nil {
		return made, nil, fmt.Errorf("MinIO's answer: %w (%v)", ErrAccountAnswer, err)
	}
	made = said.Credentials
	if asked.AccessKey != "" && made.AccessKey != asked.AccessKey || asked.SecretKey != "" && made.SecretKey != asked.SecretKey {
		return made, nil, fmt.Errorf("MinIO made another account than was asked for: %w", ErrAccountAnswer)
	}
	if asked.AccessKey == "" {
		if _, err := a.identities.Lookup(r.Context(), made.AccessKey); !errors.Is(err, identity.ErrUnknown) {
			return made, nil, fmt.Errorf("MinIO chose the access key %q, which is known: %w (%v)", made.AccessKey, ErrAccountAnswer, err)
		}
	}
	return made, answer, nil
}

// dropServiceAccount removes an account that was made and cannot be learned.
func (a *API) dropServiceAccount(r *intake.Request, accessKey string) {
	ctx, cancel := noting(r)
	defer cancel()
	answer, err := a.o.Forwarder.Forward(ctx, r.Actor(), &upstream.Forward{
		Method: http.MethodDelete, Bucket: r.Bucket, Key: "admin/v3/delete-service-account",
		Query: map[string][]string{"accessKey": {accessKey}}, API: upstream.Admin,
	})
	if err == nil {
		_ = answer.Close()
	}
	if err != nil {
		a.log.Error("a service account was made that the proxy does not know; remove it at MinIO", "account", accessKey, "error", err, "id", r.ID)
	}
}

// updateServiceAccount passes a change of an access key on. A new secret or end
// is learned, also of an account that was unknown so far.
func (a *API) updateServiceAccount(w http.ResponseWriter, r *intake.Request) error {
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	accessKey := r.Query.Get("accessKey")
	if a.identities.IsOwn(accessKey) {
		return errManaged(accessKey)
	}
	var asked struct {
		SecretKey  string     `json:"newSecretKey"`
		Expiration *time.Time `json:"newExpiration"`
		Status     string     `json:"newStatus"`
	}
	if err := a.openRequest(r, body, &asked); err != nil {
		return err
	}
	if a.identities.IsManaged(accessKey) && (asked.Expiration != nil || asked.Status != "" && !enables(asked.Status)) {
		return errManaged(accessKey)
	}
	learn := asked.SecretKey != "" || asked.Expiration != nil
	if learn {
		if learn, err = a.mayLearn(r.Context(), accessKey, asked.SecretKey); err != nil {
			return err
		}
	}
	next := identity.Identity{AccessKey: accessKey, SecretKey: asked.SecretKey, Kind: identity.ServiceAccount}
	if learn {
		known, err := a.identities.Lookup(r.Context(), accessKey)
		switch {
		case err == nil:
			next.Parent, next.Expires = known.Parent, known.Expires
		case !errors.Is(err, identity.ErrUnknown) && !errors.Is(err, identity.ErrExpired):
			return err
		}
		if asked.Expiration != nil {
			next.Expires = accountCredentials{Expiration: *asked.Expiration}.expires()
		}
	}
	resp, err := a.askAdminWith(r, body)
	if err != nil {
		return err
	}
	if !learn {
		return a.in.PassBack(w, r, resp)
	}
	if asked.SecretKey == "" {
		err = a.extend(r, next)
	} else {
		err = a.learn(r, next)
	}
	if err != nil {
		_ = resp.Close()
		return err
	}
	return a.in.PassBack(w, r, resp)
}
