package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
)

// What the configuration names is not changed through the proxy. Of the proxy's
// own access key that is all there is at MinIO: secret, status, existence, and
// rights as far as a request names the key. Of a configured client's it is secret,
// status and existence; its rights are MinIO's to give.

// errManaged refuses a change before MinIO has judged its caller. So it says what
// MinIO says to those without rights, and only the log says why.
func errManaged(accessKey string) error {
	return fmt.Errorf("%q: %w (%v)", accessKey, ErrAccessDenied, identity.ErrProtected)
}

// enables says whether MinIO takes a status for that of an account in use.
func enables(status string) bool { return status == "enabled" || status == "on" }

// setUserStatus passes `mc admin user enable` and `disable` on.
func (a *API) setUserStatus(w http.ResponseWriter, r *intake.Request) error {
	accessKey := r.Query.Get("accessKey")
	if a.identities.IsOwn(accessKey) || a.identities.IsManaged(accessKey) && !enables(r.Query.Get("status")) {
		return errManaged(accessKey)
	}
	return a.forwardAdmin(w, r)
}

// updateGroupMembers passes `mc admin group add` and `remove` on: groups give
// their members rights, and take them.
func (a *API) updateGroupMembers(w http.ResponseWriter, r *intake.Request) error {
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	var asked struct {
		Group    string
		Members  []string
		IsRemove bool
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return fmt.Errorf("the members of a group: %w", errGroupMembers)
	}
	r.Aims(map[string][]string{"group": {asked.Group}, "members": asked.Members, "isRemove": {strconv.FormatBool(asked.IsRemove)}})
	if err := r.Restate(); err != nil {
		return err
	}
	if i := slices.IndexFunc(asked.Members, a.identities.IsOwn); i >= 0 {
		return errManaged(asked.Members[i])
	}
	return a.forwardAdminWith(w, r, body)
}

// setPolicy passes the older way to give users and groups policies on.
func (a *API) setPolicy(w http.ResponseWriter, r *intake.Request) error {
	if name := r.Query.Get("userOrGroup"); a.identities.IsOwn(name) && r.Query.Get("isGroup") != "true" {
		return errManaged(name)
	}
	return a.forwardAdmin(w, r)
}

// changePolicies passes `mc admin policy attach` and `detach` on.
func (a *API) changePolicies(w http.ResponseWriter, r *intake.Request) error {
	body, err := a.in.Document(r)
	if err != nil {
		return err
	}
	var asked struct {
		Policies    []string
		User, Group string
	}
	if err := a.openRequest(r, body, &asked); err != nil {
		return err
	}
	r.Aims(map[string][]string{"user": {asked.User}, "group": {asked.Group}, "policies": asked.Policies})
	if err := r.Restate(); err != nil {
		return err
	}
	if a.identities.IsOwn(asked.User) {
		return errManaged(asked.User)
	}
	return a.forwardAdminWith(w, r, body)
}

// forwardAdminWith is forwardAdmin for a request whose body was read already.
func (a *API) forwardAdminWith(w http.ResponseWriter, r *intake.Request, body []byte) error {
	resp, err := a.askAdminWith(r, body)
	if err != nil {
		return err
	}
	return a.in.PassBack(w, r, resp)
}
