package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/identity"
)

// What the configuration names is not changed through the proxy. Of the proxy's
// own access key that is all there is at MinIO: secret, status, existence, and
// rights as far as a request names the key. Of a configured client's it is secret,
// status and existence; its rights are MinIO's to give.

// errManaged refuses a change before MinIO has judged its caller. So it says what
// MinIO says to those without rights, and only the log says why.
func errManaged(accessKey string) error {
	return fmt.Errorf("%q: %w (%v)", accessKey, errAccessDenied, identity.ErrProtected)
}

// enables says whether MinIO takes a status for that of an account in use.
func enables(status string) bool { return status == "enabled" || status == "on" }

// setUserStatus passes `mc admin user enable` and `disable` on.
func (s *Server) setUserStatus(w http.ResponseWriter, r *request) error {
	accessKey := r.query.Get("accessKey")
	if s.identities.IsOwn(accessKey) || s.identities.IsManaged(accessKey) && !enables(r.query.Get("status")) {
		return errManaged(accessKey)
	}
	return s.forwardAdmin(w, r)
}

// updateGroupMembers passes `mc admin group add` and `remove` on: groups give
// their members rights, and take them.
func (s *Server) updateGroupMembers(w http.ResponseWriter, r *request) error {
	body, err := s.document(r)
	if err != nil {
		return err
	}
	var asked struct {
		Members []string `json:"members"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return fmt.Errorf("the members of a group: %w", errGroupMembers)
	}
	if i := slices.IndexFunc(asked.Members, s.identities.IsOwn); i >= 0 {
		return errManaged(asked.Members[i])
	}
	return s.forwardAdminWith(w, r, body)
}

// setPolicy passes the older way to give users and groups policies on.
func (s *Server) setPolicy(w http.ResponseWriter, r *request) error {
	if name := r.query.Get("userOrGroup"); s.identities.IsOwn(name) && r.query.Get("isGroup") != "true" {
		return errManaged(name)
	}
	return s.forwardAdmin(w, r)
}

// changePolicies passes `mc admin policy attach` and `detach` on.
func (s *Server) changePolicies(w http.ResponseWriter, r *request) error {
	body, err := s.document(r)
	if err != nil {
		return err
	}
	var asked struct {
		User string `json:"user"`
	}
	if err := s.openRequest(r, body, &asked); err != nil {
		return err
	}
	if s.identities.IsOwn(asked.User) {
		return errManaged(asked.User)
	}
	return s.forwardAdminWith(w, r, body)
}

// forwardAdminWith is forwardAdmin for a request whose body was read already.
func (s *Server) forwardAdminWith(w http.ResponseWriter, r *request, body []byte) error {
	resp, err := s.askAdminWith(r, body)
	return s.forwardUnless(w, resp, err)
}
