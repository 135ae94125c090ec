package server

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// extensions are routes that KES does not have: /v1/api does not list them, because
// clients of KES compare that list. A policy grants them by their paths as it grants
// others, so one that was written for KES does so only with a pattern that spans them.
func extensions() []route {
	const normal = 15 * time.Second
	return []route{
		{http.MethodPut, "/v1/key/rotate/", maxBody, normal, byPolicy, true, rotateKey},
		{http.MethodGet, "/v1/key/versions/", 0, normal, byPolicy, false, keyVersions},
		{http.MethodPut, "/v1/key/retire/", maxBody, normal, byPolicy, true, changeVersion(kms.Retire)},
		{http.MethodPut, "/v1/key/reinstate/", maxBody, normal, byPolicy, true, changeVersion(kms.Reinstate)},
		{http.MethodPut, "/v1/key/destroy/", maxBody, normal, byPolicy, true, changeVersion(kms.Destroy)},
	}
}

// as notes on whose behalf something is done to a key.
func (r *request) as() context.Context { return kms.WithCreator(r.Context(), r.caller.String()) }

func rotateKey(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	if err := s.mayReplace(r); err != nil {
		return err
	}
	var in struct {
		After uint32 `json:"after"`
	}
	if err := s.read(w, r, &in, true); err != nil {
		return err
	}
	version, err := s.service.RotateKey(r.as(), r.name, in.After)
	if err != nil {
		return keyFailure("rotate", err)
	}
	return write(w, struct {
		Version uint32 `json:"version"`
	}{version})
}

func keyVersions(s *Server, w http.ResponseWriter, r *request) error {
	if err := r.keyName(); err != nil {
		return err
	}
	versions, err := s.service.KeyVersions(r.Context(), r.name)
	if err != nil {
		return keyFailure("read", err)
	}
	return write(w, struct {
		Name     string            `json:"name"`
		Versions []kms.VersionInfo `json:"versions"`
	}{r.name, versions})
}

// maxAfter bounds how long a destruction may wait, in seconds: a hundred years.
const maxAfter = 100 * 365 * 24 * 60 * 60

func changeVersion(action kms.VersionAction) handler {
	return func(s *Server, w http.ResponseWriter, r *request) error {
		if err := r.keyName(); err != nil {
			return err
		}
		if err := s.mayEnd(r); err != nil {
			return err
		}
		var in struct {
			Version uint32 `json:"version"`
			After   int64  `json:"after_seconds"`
			Force   bool   `json:"force"`
		}
		if err := s.read(w, r, &in, false); err != nil {
			return err
		}
		if in.After < 0 || in.After > min(maxAfter, math.MaxInt64/int64(time.Second)) {
			return fmt.Errorf("after_seconds: %w", errBody)
		}
		change := kms.VersionChange{Action: action, Version: in.Version, After: time.Duration(in.After) * time.Second, Force: in.Force}
		return keyFailure("change", s.toTheEnd(r, func(ctx context.Context) error {
			return s.service.ChangeVersion(kms.WithCreator(ctx, r.caller.String()), r.name, change)
		}))
	}
}

// mayEnd refuses to end versions of a key, or to bring them back, to whoever is denied
// its deletion: to destroy all old versions is to delete most of a key. *denied.
func (s *Server) mayEnd(r *request) error {
	for _, pattern := range r.state.config.Policies[r.policy].Deny {
		if matches(pattern, "/v1/key/delete/"+r.name) {
			return &denied{policy: r.policy, reason: fmt.Sprintf("the policy denies %q, and with that the end of versions", pattern)}
		}
	}
	return s.mayReplace(r)
}
