{{/* Refuses what each value allows for itself and what cannot work together, with the key and what is allowed. */}}
{{- define "alert-remediator.fitting" -}}
{{- $v := .Values -}}
{{- if and (include "alert-remediator.takesIPv6" .) (eq (toString $v.settings.HOST) "0.0.0.0") -}}
{{- fail "settings.HOST: 0.0.0.0 takes no IPv6, which service.ipFamilies or service.ipFamilyPolicy asks for; leave it out, or set it to \"::\"" -}}
{{- end -}}
{{- if and (gt (len $v.service.ipFamilies) 1) (has $v.service.ipFamilyPolicy (list "" "SingleStack")) -}}
{{- fail "service.ipFamilyPolicy: two of service.ipFamilies need PreferDualStack or RequireDualStack" -}}
{{- end -}}
{{- include "alert-remediator.fittingSecrets" . -}}
{{- include "alert-remediator.fittingVolumes" . -}}
{{- include "alert-remediator.fittingStore" . -}}
{{- include "alert-remediator.cluster" . -}}
{{- if gt (include "alert-remediator.milliseconds" $v.serviceMonitor.scrapeTimeout | int) (include "alert-remediator.milliseconds" $v.serviceMonitor.interval | int) -}}
{{- fail (printf "serviceMonitor.scrapeTimeout: %s is longer than serviceMonitor.interval (%s); Prometheus takes at most the interval" $v.serviceMonitor.scrapeTimeout $v.serviceMonitor.interval) -}}
{{- end -}}
{{- if $v.alertmanagerConfig.enabled -}}
{{- range (include "alert-remediator.policy" . | fromJson).freshness -}}
{{- if ge (include "alert-remediator.milliseconds" $v.alertmanagerConfig.repeatInterval | int) (include "alert-remediator.milliseconds" . | int) -}}
{{- fail (printf "alertmanagerConfig.repeatInterval: an alert that is repeated after %s counts as stale after %s, the policy's freshness; set less than that" $v.alertmanagerConfig.repeatInterval .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Volumes, mounts and containers of one's own: none is the chart's, each is there once, and each mount has its volume. */}}
{{- define "alert-remediator.fittingVolumes" -}}
{{- $v := .Values -}}
{{- $volumes := list "policy" "tmp" "token" "state" -}}{{- $named := list -}}
{{- $places := list "/" "/state" "/policies" "/tmp" "/var/run/secrets/kubernetes.io/serviceaccount" -}}{{- $taken := list -}}
{{- if not $v.secret.asEnv -}}
{{- $volumes = append $volumes "secrets" -}}{{- $places = append $places "/secrets" -}}
{{- if and (eq $v.store.kind "postgres") $v.store.migrate }}{{- $volumes = append $volumes "migrate" -}}{{- $places = append $places "/migrate" -}}{{- end -}}
{{- end -}}
{{- range $v.extraVolumes -}}
{{- if has .name $volumes }}{{- fail (printf "extraVolumes: the volume %s is the chart's own, as are %s; give yours another name" .name (join ", " $volumes)) -}}{{- end -}}
{{- if has .name $named }}{{- fail (printf "extraVolumes: the volume %s is there twice" .name) -}}{{- end -}}
{{- $named = append $named .name -}}
{{- end -}}
{{- range $v.extraVolumeMounts -}}
{{- $place := default "/" (trimSuffix "/" (clean (toString .mountPath))) -}}
{{- if has $place $places }}{{- fail (printf "extraVolumeMounts: %s is where the chart mounts its own, as are %s; mount yours elsewhere" $place (join ", " $places)) -}}{{- end -}}
{{- if has $place $taken }}{{- fail (printf "extraVolumeMounts: two are mounted at %s" $place) -}}{{- end -}}
{{- $taken = append $taken $place -}}
{{- if not (has .name $named) }}{{- fail (printf "extraVolumeMounts: %s mounts the volume %s, and extraVolumes has none of that name" $place (toString .name)) -}}{{- end -}}
{{- end -}}
{{- include "alert-remediator.clusterContainers" (dict "containers" $v.extraContainers "volumes" (concat $volumes $named)) -}}
{{- end }}

{{/* What would be refused at the start, or stand where everybody who may see the pod reads it. */}}
{{- define "alert-remediator.fittingSecrets" -}}
{{- $v := .Values -}}
{{- if and (eq $v.store.kind "sqlite") $v.secret.keys.DATABASE_URL -}}
{{- fail "secret.keys.DATABASE_URL: store.kind is sqlite, whose file on the volume would stay unused; set store.kind to postgres, or leave the key out" -}}
{{- end -}}
{{- if not $v.secret.keys.TOKENS -}}
{{- fail "secret.keys.TOKENS: without tokens nobody could be told from anybody, with settings.OIDC_ISSUER too, and the service refuses to start; name the key of the Secret" -}}
{{- end -}}
{{- range $name, $value := $v.settings -}}
{{- $better := ternary (printf "name the key of the Secret that has the URL in secret.keys.%s" $name) "let it answer the service without a login, inside the cluster by a network policy" (has $name (list "PROMETHEUS_URL" "ALERTMANAGER_URL")) -}}
{{- if regexMatch "^https?://[^/?#]*@" (toString $value) -}}
{{- fail (printf "settings.%s: a user or a password in it would stand readable in the pod's environment; %s" $name $better) -}}
{{- end -}}
{{- if and $value (hasKey $v.secret.keys $name) -}}
{{- fail (printf "settings.%s: secret.keys.%s gives it too; leave one of them out" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* "true" where the Service has IPv6, or has it on a cluster with both. The service takes IPv4 alone on a node without IPv6. */}}
{{- define "alert-remediator.takesIPv6" -}}
{{- if or (has "IPv6" .Values.service.ipFamilies) (has .Values.service.ipFamilyPolicy (list "PreferDualStack" "RequireDualStack")) }}true{{ end -}}
{{- end }}

{{/* A quantity as Kubernetes writes it, as a number. */}}
{{- define "alert-remediator.quantity" -}}
{{- $units := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- $text := trimPrefix "+" (toString .) -}}
{{- $unit := regexFind "([KMGTPE]i|[numkMGTPE])$" $text -}}
{{- $number := trimSuffix $unit $text | float64 -}}
{{- if $unit }}{{- $number = mulf $number (get $units $unit) -}}{{- end -}}
{{- $number -}}
{{- end }}

{{/* Refuses what can be seen of a policy's file without the service, with its place; the hook says the rest. args: place, text, document, words */}}
{{- define "alert-remediator.checkPolicy" -}}
{{- $place := .place -}}{{- $document := .document -}}
{{- if regexMatch "(?m)^---" (regexReplaceAll "^(\\s*(#[^\n]*)?\n)*---[^\n]*" .text "") -}}
{{- fail (printf "%s: there is a second document; make it a file of its own" $place) -}}
{{- end -}}
{{- include "alert-remediator.checkKeys" (dict "place" $place "value" $document "words" .words.file) -}}
{{- if ne (printf "%T %v" $document.version $document.version) "float64 1" }}{{- fail (printf "%s: version: expected 1, got %s" $place (toJson $document.version)) -}}{{- end -}}
{{- with $document.scope -}}
{{- if not (kindIs "map" .) }}{{- fail (printf "%s: scope: expected keys with values, such as {namespaces: [rag7]}" $place) -}}{{- end -}}
{{- range $key := list "namespaces" "exclude_namespaces" "protected_kinds" "secrets" -}}
{{- include "alert-remediator.checkNames" (dict "place" (printf "%s: scope.%s" $place $key) "value" (index $document.scope $key)) -}}
{{- end -}}
{{- range $key := list "namespaces" "exclude_namespaces" -}}
{{- range index $document.scope $key -}}
{{- if not (or (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) (regexMatch "^[]!*?[a-z0-9-]*[*?[][]!*?[a-z0-9-]*$" .)) -}}
{{- fail (printf "%s: scope.%s: no namespace can be named %q: at most 63 small letters, digits and dashes, or a pattern of them with * or ?" $place $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "alert-remediator.checkSpan" (dict "place" (printf "%s: freshness" $place) "value" $document.freshness) -}}
{{- $rules := index $document "rules" -}}
{{- if not (or (kindIs "slice" $rules) (kindIs "invalid" $rules)) }}{{- fail (printf "%s: rules: expected a list of rules" $place) -}}{{- end -}}
{{- range $number, $rule := $rules -}}
{{- if not (kindIs "map" $rule) }}{{- fail (printf "%s: rules: number %d: expected keys with values" $place (add1 $number)) -}}{{- end -}}
{{- $who := printf "%s: rule %q" $place (toString (default (add1 $number) $rule.name)) -}}
{{- include "alert-remediator.checkKeys" (dict "place" $who "value" $rule "words" $.words.rule) -}}
{{- range $key := list "target" "params" -}}
{{- if not (or (kindIs "map" (index $rule $key)) (kindIs "invalid" (index $rule $key))) }}{{- fail (printf "%s: %s: expected keys with values, got %s" $who $key (toString (index $rule $key))) -}}{{- end -}}
{{- end -}}
{{- $name := index (default (dict) $rule.target) "name" -}}
{{- if not (or (kindIs "map" $name) (kindIs "invalid" $name)) }}{{- fail (printf "%s: target.name: expected {label: ...} or {default: ...}, got %s" $who (toString $name)) -}}{{- end -}}
{{- include "alert-remediator.checkSpan" (dict "place" (printf "%s: freshness" $who) "value" $rule.freshness) -}}
{{- end -}}
{{- end }}

{{/* Keys that there are, those that have to be there, and a mode that is one. args: place, value, words (keys, required, modes) */}}
{{- define "alert-remediator.checkKeys" -}}
{{- range $key := keys .value | sortAlpha -}}
{{- if not (has $key $.words.keys) }}{{- fail (printf "%s: there is no key %q; there are %s" $.place $key (join ", " $.words.keys)) -}}{{- end -}}
{{- end -}}
{{- range .words.required }}{{- if not (hasKey $.value .) }}{{- fail (printf "%s: the key %q is missing" $.place .) -}}{{- end -}}{{- end -}}
{{- $mode := index .value "mode" -}}
{{- if and (hasKey .value "mode") (not (has $mode .words.modes)) }}{{- fail (printf "%s: mode: expected one of %s, got %s" .place (join ", " .words.modes) (toJson $mode)) -}}{{- end -}}
{{- end }}

{{/* args: place, value: nothing, or a list of texts */}}
{{- define "alert-remediator.checkNames" -}}
{{- if not (kindIs "invalid" .value) -}}
{{- if not (kindIs "slice" .value) }}{{- fail (printf "%s: expected a list, got %s" .place (toString .value)) -}}{{- end -}}
{{- range .value }}{{- if not (kindIs "string" .) }}{{- fail (printf "%s: expected names, got %s" $.place (toString .)) -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* args: place, value: nothing, or a span such as 15m */}}
{{- define "alert-remediator.checkSpan" -}}
{{- if not (or (kindIs "invalid" .value) (and (kindIs "string" .value) (regexMatch "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" (toString .value)) .value)) -}}
{{- fail (printf "%s: expected a duration such as 90s, 15m, 1h or 7d, got %s" .place (toString .value)) -}}
{{- end -}}
{{- end }}
