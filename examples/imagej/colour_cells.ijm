// Shows the active segments of sfseg so that cells side by side differ: 255 colours, again and again.
// In Fiji and ImageJ: Plugins > Macros > Run...
// ImageJ spreads its 256 colours over all numbers, so that in a large stack neighbours look alike.
// This makes a copy to look at. The segments with their numbers are not changed.

title = getTitle();
run("Duplicate...", "title=copy duplicate");
rename("colours of " + title);
run("Macro...", "code=[if (v > 0) v = (v - 1) % 255 + 1] stack");
setMinAndMax(0, 255);
